# The front door. CMake underneath does the work; see README.md.
BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
CMAKE_FLAGS ?=

.PHONY: all demo check bench install lint format clean

all: $(BUILD)/CMakeCache.txt
	@cmake --build $(BUILD) -j$(JOBS) -- --no-print-directory

$(BUILD)/CMakeCache.txt: CMakeLists.txt
	@cmake -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS)

demo: all
	@scripts/demo $(BUILD)

check:
	@scripts/check

bench: all
	@bench/run --build $(BUILD) $(BENCH_FLAGS)

install: all
	@cmake --install $(BUILD) --prefix $(PREFIX)

lint:
	@scripts/lint

format:
	@git ls-files '*.c' '*.h' '*.hpp' '*.cpp' | xargs clang-format -i

clean:
	@rm -rf $(BUILD)
