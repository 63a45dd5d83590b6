# Thin: what to install, and which meson build folder to use. The build itself is meson.build.
#
#   make        build/hob                     make test    unit, fuzz corpus, simulation, end to end
#   make run    the example, start to finish  make bench   figures (BENCH=name for one)
#   make run-agent  a long-running agent in TypeScript that outlives kill -9; npm brings the SDK
#   make fuzz   libFuzzer, FUZZ_SECONDS each  make lint    formats, forbidden calls, static analysis
#   make mutants  plants bugs, one at a time, and runs the test that must notice (ONLY=name for some)
#   make install PREFIX=/usr/local DESTDIR=   the program, hob(1), completions; make uninstall takes them away
#   make tidy   clang-tidy over src               WERROR=true: warnings end a new build folder's build

FUZZ_SECONDS ?= 30
WERROR ?= false
PYTHON ?= /usr/bin/python3
MESON_TEST = build-test

PREFIX ?= /usr/local

.PHONY: all install uninstall run run-agent test unit e2e bench fuzz mutants tidy lint clean
all: build/build.ninja
	@ninja -C build -j "$$(nproc)" src/cli/hob examples/event-classifier/classifier >/tmp/hob-build.$$$$ 2>&1 || { cat /tmp/hob-build.$$$$; rm -f /tmp/hob-build.$$$$; exit 1; }; rm -f /tmp/hob-build.$$$$
	@cp -f build/src/cli/hob build/hob

build/build.ninja:
	@tools/deps.sh build
	@meson setup build -Dbuildtype=debugoptimized -Dwerror=$(WERROR) >/dev/null

$(MESON_TEST)/build.ninja:
	@tools/deps.sh build test
	@meson setup $(MESON_TEST) -Dwerror=$(WERROR) -Dfaults=true -Db_sanitize=address,undefined >/dev/null

run: all
	@tools/deps.sh run
	@$(PYTHON) examples/event-classifier/run.py --hob build/hob

test: $(MESON_TEST)/build.ninja
	@tools/deps.sh build test
	@$(PYTHON) tools/test.py --build $(MESON_TEST)

run-agent: all
	@tools/deps.sh run agent
	@$(PYTHON) -B examples/agent/run.py --hob build/hob

bench: all
	@tools/deps.sh bench
	@ninja -C build bench-tools >/dev/null
	@$(PYTHON) test/bench/bench.py --hob build/hob --out build/bench.json $(BENCH)

fuzz:
	@tools/deps.sh build fuzz
	@test -f build-fuzz/build.ninja || CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	@ninja -C build-fuzz >/dev/null
	@for f in build-fuzz/test/fuzz_*; do [ -x "$$f" ] && [ -f "$$f" ] || continue; n=$$(basename $$f | sed s/fuzz_//); \
	  mkdir -p build-fuzz/corpus/$$n; echo "== $$n"; \
	  $$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 build-fuzz/corpus/$$n test/fuzz/corpus/$$n 2>&1 | grep -E 'number_of_executed|ERROR|SUMMARY' ; done

mutants:
	@tools/deps.sh build test
	@$(PYTHON) tools/mutants.py --only $(ONLY)

tidy: $(MESON_TEST)/build.ninja
	@tools/deps.sh build test tidy
	@$(PYTHON) tools/tidy.py $(MESON_TEST)

lint:
	@tools/deps.sh build test
	@$(PYTHON) tools/lint.py

install: all
	@tools/install.sh install build/hob "$(PREFIX)" "$(DESTDIR)"

uninstall:
	@tools/install.sh uninstall build/hob "$(PREFIX)" "$(DESTDIR)"

clean:
	rm -rf build $(MESON_TEST) build-plain build-fuzz build-clang build-mutants
