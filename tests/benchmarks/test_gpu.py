from lehrnet.benchmarks import gpu

LINE = "NVIDIA H200, 570.86.15, 9.0, 1980, 3201, 34, 700.00, 143771, Disabled\n"


def test_a_gpu_s_facts_are_named() -> None:
    (facts,) = gpu.parse_gpus(LINE)
    assert facts["name"] == "NVIDIA H200"
    assert facts["compute_capability"] == "9.0"
    assert facts["sm_mhz"] == "1980"


def test_what_it_leaves_open_is_left_out() -> None:
    (facts,) = gpu.parse_gpus(LINE.replace("34", "[N/A]"))
    assert "celsius" not in facts


def test_no_gpu_and_no_driver_are_no_facts() -> None:
    assert gpu.parse_gpus("No devices were found\n") == []
    assert gpu.parse_gpus("") == []


def test_memory_is_that_of_the_process() -> None:
    text = "17, 1024\n18, 2048\n17, 512\n19, [N/A]\n"
    assert gpu.parse_memory(text, 17) == 1536
    assert gpu.parse_memory(text, 19) is None
    assert gpu.parse_memory(text, 20) is None
