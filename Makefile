# netlog on a fresh machine: every target sets up what it needs in .venv and builds what changed.
#
#	make demo	two gateways in network namespaces, checked against the kernel's counters
#	make test	the tests; as root also those with real interfaces
#
# PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

SOURCES := setup.py pyproject.toml netlog/_build.py csrc/python/netlog.cdef $(wildcard csrc/*/*.[ch])

.NOTPARALLEL:
.PHONY: help analyze build cross demo docs generate test test-soak test-all interop selftest sanitize test-sanitized wheels test-wheels fuzz fuzz-corpus compare bench bench-curve bench-report instructions warnings lint clean needs needs-go

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

build: needs $(VENV)/.built ## the package, in .venv

demo: NEEDED := tun
demo: SECONDS ?= 5
demo: needs $(VENV)/.built ## two gateways in namespaces; SECONDS=5
	$(BIN)/netlog demo --seconds $(SECONDS)

# Tests start netlog a thousand times, so its bytecode is kept whatever the environment says. They
# wait as often as they work: there are more workers than processors. WORKERS=0 has none, and
# PYTEST_ARGS is for more options: make test PYTEST_ARGS="-x -k spool".
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
WORKERS ?= $(shell expr `nproc` + 2)
PARALLEL = $(PYTEST) --numprocesses=$(WORKERS) --dist=worksteal --durations=30

test test-soak test-all: NEEDED := ip
test: needs $(VENV)/.built ## the tests, without the long rounds; WORKERS=4 PYTEST_ARGS="-k spool"
	$(PARALLEL) -m "not soak" $(PYTEST_ARGS)

test-soak: needs $(VENV)/.built ## the long rounds of what is killed again and again
	$(PARALLEL) -m soak $(PYTEST_ARGS)

test-all: needs $(VENV)/.built ## both
	$(PARALLEL) $(PYTEST_ARGS)

# A headscale and two nodes of it, as they are published: built from their modules, at the versions
# that tests/interop/tools pins. What takes long to compile and is not met there is left out.
INTEROP := build/interop
INTEROP_TAGS := ts_include_cli $(addprefix ts_omit_,\
	aws bird completion drive kube synology systray tap tpm webclient)
GO := $(firstword $(shell command -v go) $(wildcard /usr/local/go/bin/go))

interop: NEEDED := tun ip
interop: needs $(VENV)/.built ## headscale and two tailscaled, metered; needs Go
	@if $(MAKE) -s needs-go; then \
		$(MAKE) -s $(INTEROP)/.built && \
		NETLOG_INTEROP_BIN=$(CURDIR)/$(INTEROP) $(PYTEST) tests/interop; \
	else \
		echo "netlog: interop: left out" >&2; test "$$CI" != true; \
	fi

$(INTEROP)/.built: tests/interop/tools/go.mod tests/interop/tools/go.sum Makefile
	@echo "netlog: building headscale and tailscaled, which takes minutes the first time"
	@mkdir -p $(INTEROP)
	cd tests/interop/tools && GOTOOLCHAIN=local nice $(GO) build -trimpath -buildvcs=false \
		-ldflags='-s -w' -tags='$(INTEROP_TAGS)' -o $(CURDIR)/$(INTEROP)/ \
		github.com/juanfont/headscale/cmd/headscale tailscale.com/cmd/tailscaled
	@touch $@

selftest: needs ## the C tests alone
	$(MAKE) -s -j$(shell nproc) -C csrc/selftest check

cross: needs ## the C tests on other machines, in an emulator; MACHINES="armhf s390x"
	$(PYTHON) packaging/cross.py $(MACHINES)

sanitize: needs ## the C tests with AddressSanitizer and UBSan, then with ThreadSanitizer
	$(MAKE) -s -j$(shell nproc) -C csrc/selftest asan
	$(MAKE) -s -j$(shell nproc) -C csrc/selftest tsan

# On a copy, so that the core that is built here stays as it is. What a sanitizer itself allocates
# is no leak of ours, what it keeps back is no memory of a poll, and it finds fault with the programs
# that the system tests call. What is killed line by line is Python, and takes its time here.
SANITIZED := build/sanitized

test-sanitized: needs $(VENV)/.built ## the tests without root, on a core with AddressSanitizer and UBSan
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r setup.py pyproject.toml README.md LICENSE csrc docs fuzz netlog tests $(SANITIZED)
	rm -f $(SANITIZED)/netlog/_core*
	cd $(SANITIZED) && NETLOG_SANITIZE=address $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	cd $(SANITIZED) && ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=`cc -print-file-name=libasan.so` \
		$(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider --numprocesses=$(WORKERS) \
		--dist=worksteal tests/unit tests/oracle tests/stress \
		--ignore=tests/unit/test_readme.py --ignore=tests/oracle/test_oracle_tshark.py -k "not selftest and not leaks and not killed and not test_exec and not test_stress_poll and not c_library"

# Each harness has a share of SECONDS. What makes one fail stays in build/fuzz/faults. FUZZ="count tap"
# runs some of them, and FUZZ="--each" gives each one all of SECONDS.
fuzz fuzz-corpus: NEEDED := clang
fuzz fuzz-corpus: SECONDS ?= 60
fuzz: needs $(VENV)/.built $(VENV)/.fuzz ## all fuzzers, for SECONDS=60 together; FUZZ="count tap"
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(FUZZ)

fuzz-corpus: needs $(VENV)/.built $(VENV)/.fuzz ## the same; keeps the inputs that reach most, in fuzz/corpus
	$(BIN)/python -m fuzz --seconds $(SECONDS) --keep $(FUZZ)

compare: NEEDED := tshark
compare: needs $(VENV)/.built ## netlog read against tshark, per connection; CAPTURES=folder
	@test -n "$(CAPTURES)" || { echo "netlog: compare: give a folder with captures: CAPTURES=folder" >&2; exit 1; }
	$(BIN)/python -m fuzz.compare $(CAPTURES)

wheels: needs $(VENV)/.wheels ## an sdist and a wheel for each platform, checked, in dist
	$(BIN)/python packaging/wheels.py

test-wheels: NEEDED := tun
test-wheels: wheels ## the wheels, installed and used; the C tests on a processor that is emulated
	$(BIN)/python packaging/try_wheels.py

# BENCH="count relay" runs some of it, BENCH=--help says what else there is. A missed budget fails
# nothing; a bench that failed does, and says where it wrote why.
bench: needs $(VENV)/.built $(VENV)/.bench ## measure, print one table, keep bench/results/bench.json
	$(BIN)/python -m bench $(BENCH)

bench-curve: needs $(VENV)/.built $(VENV)/.bench ## measure what the curves show, by connections
	$(BIN)/python -m bench --curve $(BENCH)

bench-report: needs $(VENV)/.built $(VENV)/.bench ## draw the last measurements into docs/figures
	$(BIN)/python -m bench.report

instructions: needs $(VENV)/.built $(VENV)/.bench ## instructions a packet against the committed figures
	$(BIN)/python -m bench.instructions

# Compiled apart from what is used, where a warning is no error.
WARNED := build/warnings/$(notdir $(firstword $(CC)))

warnings: needs $(VENV)/.test ## all C, where a warning is an error; CC=clang
	NETLOG_WERROR=1 $(BIN)/python setup.py -q build_ext -b $(WARNED) -t $(WARNED) \
		build_library -b $(WARNED) -t $(WARNED)
	NETLOG_WERROR=1 $(MAKE) -s -C csrc/selftest programs

lint: needs $(VENV)/.built $(VENV)/.lint $(VENV)/.docs ## format, style, types, spelling, the compiler's warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy packaging
	$(BIN)/lint-imports --no-logo
	find csrc bench fuzz -path bench/results -prune -o -name '*.[ch]' -print -o -name '*.cc' -print | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/codespell
	! git grep -nEf .ci/words -- netlog csrc bench fuzz packaging docs '*.md' ':!bench/results'
	@$(MAKE) -s warnings analyze
	$(BIN)/shellcheck .ci/run .ci/debian

# gcc follows paths. It does not see through vectors, and takes a member that only one kind of batch has
# for missing in the other.
ANALYZED := $(filter-out csrc/count/% csrc/python/% csrc/selftest/%,$(wildcard csrc/*/*.c))

analyze: ## csrc/ by gcc -fanalyzer, where cc is gcc
	@cc --version | grep -q -i clang || for file in $(ANALYZED); do \
		cc -std=gnu11 -O2 -Icsrc -Icsrc/include -fanalyzer -Wno-analyzer-null-dereference -Werror \
			-c $$file -o /dev/null || exit 1; done

# A warning fails it, such as a link that leads nowhere; so does what would load from another host.
# Not with --quiet, which keeps warnings from being counted.
docs: needs $(VENV)/.built $(VENV)/.docs ## the site of the documentation, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "netlog: open build/site/index.html"

# What is committed and made from the sources: after a change to the types of a message, or to what
# `netlog fmt` prints.
generate: needs $(VENV)/.built $(VENV)/.docs ## the JSON Schema and the README's figure
	@mkdir -p build
	$(BIN)/python -m netlog.messages.schema >build/schema.json
	mv build/schema.json netlog/messages/schema.json
	$(BIN)/python -m docs._generate.terminal

clean: ## what was built, and .venv
	rm -rf $(VENV) build dist *.egg-info netlog/_core.c netlog/*.so
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- what a machine must have ----------------------------------------------------------------------

# Looks for what everything needs, and for what the target needs besides: NEEDED, of `tun` and `ip`.
# Says what is missing in one line.
define NEEDS
missing= packages= remedy=
need() { missing="$$missing, $$1"; packages="$$packages $$2"; }
python=`basename $(PYTHON)`
if ! command -v $(PYTHON) >/dev/null; then
	need $(PYTHON) "$$python $$python-venv $$python-dev"
elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
	need "Python 3.11 or newer ($(PYTHON) is `$(PYTHON) --version 2>&1`)" \
		"python3.11 python3.11-venv python3.11-dev"
	remedy=" && make $(MAKECMDGOALS) PYTHON=python3.11"
else
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || need "Python's venv" "$$python-venv"
	$(PYTHON) -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
		2>/dev/null || need "Python's headers" "$$python-dev"
fi
if ! command -v $(firstword $(CC)) >/dev/null; then
	need "a C compiler ($(CC))" "gcc libc6-dev"
elif ! echo '#include <linux/if_tun.h>' | $(CC) -E -include stdio.h - >/dev/null 2>&1; then
	need "the C library's headers" libc6-dev
fi
for each in $(NEEDED); do
	case $$each in
	clang)
		command -v clang >/dev/null || need clang clang
		echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
			clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null || \
			need "clang's libFuzzer and sanitizers" libclang-rt-dev
		;;
	tshark)
		command -v tshark >/dev/null || need tshark tshark
		;;
	ip)
		command -v ip >/dev/null || test -x /sbin/ip || need ip iproute2
		command -v ping >/dev/null || need ping iputils-ping
		;;
	tun)
		test `id -u` = 0 || command -v unshare >/dev/null || need unshare util-linux
		if ! test -e /dev/net/tun; then
			missing="$$missing, /dev/net/tun"
			remedy=" && sudo modprobe tun$$remedy"
		elif ! test -w /dev/net/tun; then
			missing="$$missing, the right to open /dev/net/tun (which root has)"
			remedy=" && sudo chmod 0666 /dev/net/tun$$remedy"
		fi
		;;
	esac
done
test -z "$$packages" || remedy=" && sudo apt install$$packages$$remedy"
test -z "$$missing" || { echo "netlog: missing: $${missing#, }; to get it: $${remedy# && }" >&2; exit 1; }
endef
export NEEDS

needs:
	@eval "$$NEEDS"

needs-go:
	@test -n "$(GO)" && printf '%s\n' go1.25.5 "`GOTOOLCHAIN=local $(GO) env GOVERSION`" | sort -C -V || \
		{ echo "netlog: missing: Go 1.25.5 or newer" >&2; exit 1; }

# -- .venv -----------------------------------------------------------------------------------------

# The requirements of pyproject.toml: the build's, the package's and those of one extra.
REQUIREMENTS = $(PYTHON) -c 'import sys, tomllib; t = tomllib.load(open("pyproject.toml", "rb")); \
	p = t["project"]; print(*t["build-system"]["requires"], *p["dependencies"], \
	*p["optional-dependencies"][sys.argv[1]], sep="\n")'

$(VENV)/.test: pyproject.toml
	@echo "netlog: setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(REQUIREMENTS) test | $(PIP) install -r /dev/stdin
	@touch $@

$(VENV)/.bench $(VENV)/.docs $(VENV)/.fuzz $(VENV)/.lint $(VENV)/.wheels: $(VENV)/.%: $(VENV)/.test pyproject.toml
	@echo "netlog: installing what make $* needs in $(VENV)"
	@$(REQUIREMENTS) $* | $(PIP) install -r /dev/stdin
	@touch $@

# In place: tests and commands use the sources as they are here.
$(VENV)/.built: $(VENV)/.test $(SOURCES)
	@echo "netlog: building"
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@
