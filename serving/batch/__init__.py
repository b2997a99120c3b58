"""Archives: pictures and videos in parts, by a pool of processes or by Ray, both around one step."""
