"""The page that runs a bundle in a browser: its files, and the server that shows it on this machine."""
