# Each target makes .venv by itself when it is absent. PYTHON chooses the interpreter, IMAGE the demo's input.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test slow fuzz triton gpu-day kernels library wheel site lint check clean

demo: $(READY)  ## export, verify and predict: network to skeleton
	$(BIN)/lehrnet demo $(IMAGE) --out demo

test: $(READY)  ## the unmarked tests: five minutes or so on two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" --numprocesses auto --maxprocesses 8

slow: $(READY)  ## wheels, engines, whole photographs, and what else takes its time
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[ray,rtx-build,site]"
	-$(MAKE) build/triton/ready  # without it the tests on a real server are skipped
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --numprocesses auto --maxprocesses 4 --dist worksteal --durations 20

fuzz: $(READY)  ## files as a fuzzer writes them, for about an hour; the C library's fuzzers too where clang is
	LEHRNET_FUZZ_EXAMPLES=20000 OMP_NUM_THREADS=1 $(BIN)/pytest tests/test_fuzz.py tests/model/test_strange_checkpoints.py
	! command -v clang++ || (cmake -S runtime/embed --preset fuzz -G Ninja \
		-DONNXRUNTIME_INCLUDE_DIR=$(or $(ONNXRUNTIME_INCLUDE_DIR),$(CURDIR)/build/onnxruntime/include) \
		&& cmake --build build/embed/fuzz --target fuzz)

triton: build/triton/ready  ## a real Triton server with its client, without Docker: the slow tests of serving then run

# Its own environment: PyTriton wants NumPy 1. Our code comes in by a path that the tests write into it.
build/triton/ready: constraints.txt
	$(PYTHON) -m venv build/triton
	build/triton/bin/python -m pip install --quiet --disable-pip-version-check \
		"nvidia-pytriton==0.7.0" "tritonclient[http,grpc]==2.73.0" "numpy<2" "opencv-python-headless<5" tqdm
	touch $@

gpu-day: build/gpu_day/source/lehrnet  ## everything that a GPU can be asked in OUT=FOLDER, with the system's own Python: docs/gpu-day.md
	PYTHONPATH=$(CURDIR)/build/gpu_day/source $(PYTHON) -m lehrnet.benchmarks.gpu_day --out "$(or $(OUT),build/gpu_day/out)" \
		$(if $(wildcard .gpu_day),--carry .gpu_day) $(GPU_DAY)

build/gpu_day/source/lehrnet:  # the checkout under the package's name
	mkdir -p $(@D) && ln -sfn ../../.. $@

kernels: $(READY) build/cuda12/ready  ## CUDA kernels for every GPU, with nvcc 13 and NVRTC 12; the runtime finds them
	$(BIN)/python -m lehrnet.benchmarks.kernels --fatbin runtime/kernels/lehrnet.fatbin
	build/cuda12/bin/python -I runtime/cuda/nvrtc.py runtime/kernels/lehrnet_cuda12.ptx

build/cuda12/ready:  # NVRTC 12.2 writes PTX that every driver since JetPack 6.0's takes
	$(PYTHON) -m venv build/cuda12
	build/cuda12/bin/python -m pip install --quiet --disable-pip-version-check \
		"cuda-bindings==12.9.*" "nvidia-cuda-nvrtc-cu12==12.2.140"
	touch $@

library: $(READY)  ## the C++ library with ONNX graphs beside our engine; takes CMake, Ninja and a C++ compiler
	test -n "$(ONNXRUNTIME_INCLUDE_DIR)" || runtime/embed/fetch_onnxruntime.sh build/onnxruntime
	cmake -S runtime/embed --preset release -G Ninja \
		-DONNXRUNTIME_INCLUDE_DIR=$(or $(ONNXRUNTIME_INCLUDE_DIR),$(CURDIR)/build/onnxruntime/include)
	cmake --build build/embed/release
	cp -L build/embed/release/liblehrnet.so runtime/liblehrnet.so.new && mv runtime/liblehrnet.so.new runtime/liblehrnet.so

wheel: build/shipped  ## a wheel for this platform in dist/: the compiled CPU engine and the shipped weights packed for it
	rm -rf build/lib* dist/*.whl
	LEHRNET_COMPILE=require LEHRNET_SHIPPED_BUNDLE=build/shipped \
		$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	rm -rf build/lib* build/bdist*
	ls dist/*.whl

build/shipped: $(READY) model/weights/lehrnet_w32.safetensors
	$(BIN)/lehrnet export --precisions native_fp32 --out build/all --overwrite
	$(BIN)/lehrnet extract build/all --artefacts native_fp32 --out $@ --overwrite
	touch $@

site: $(READY)  ## the documentation as a site in build/site, every link checked; with the live demo where npm is
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[site]"
	if command -v npm > /dev/null; then $(MAKE) build/web/bundle.json; fi
	$(BIN)/python docs/site/stage.py build/site-source
	PYTHONPATH=$(VENV)/src $(BIN)/python -m sphinx -q -W --keep-going build/site-source build/site

build/web/bundle.json: $(READY) web/package-lock.json $(wildcard web/page/*)  ## the shipped weights with their page
	npm ci --prefix web --ignore-scripts --no-audit --no-fund
	$(BIN)/lehrnet export --precisions fp32 --web --onnxruntime-web web/node_modules/onnxruntime-web \
		--out build/web --overwrite

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check: lint test slow  ## what CI runs

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable ".[cpu,demo,dev,export]"
	mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/lehrnet
	touch $@
