# SPDX-License-Identifier: MIT
# Cavage: builds, tests and installs everything. `make help` lists the targets.
#
#   include/cavage/*.h src/*.c     $(B)/libcavage.a, which all programs share
#   src/*.proto                    $(B)/gen/*.pb-c.[ch]
#   api/ worker/ authcache/ ...    $(B)/bin/cavage-api, ...; main.c holds main(), the rest can be tested
#   tests/unit/test_NAME.c         $(B)/tests/test_NAME, a cmocka program; test_FOLDER_NAME.c is linked with that program's folder too
#   tests/fuzz/fuzz_NAME.c         $(B)/fuzz/fuzz_NAME (libFuzzer) and $(B)/replay/fuzz_NAME; fuzz_FOLDER_NAME.c likewise
#   tests/fuzz/make_images.c       $(B)/fuzz/seeds/fuzz_worker_convert: images of every format to begin with
#   tests/sim/*.c                  $(B)/sim, the simulator; tests/sim/mutants: $(B)/mutants/NAME/sim, with a fault in the library
#   tests/scale/*.c                $(B)/scale, the same code in a region of full size
#   bench/NAME.c                   $(B)/bench/NAME
#   docs/man/NAME.1                $(B)/man/NAME.1; cavage.conf.5, and the options of a resize in cavage.1, are printed by the program
#
# Variables: B=build folder  CC=compiler  SAN=address|thread  VIPS=auto|system  WERROR=1  V=1 (show commands)
#            PREFIX= DESTDIR= (install)  PHOTO= (run)  SECONDS= (fuzz)  COUNT= (soak)  SEEDS= (sim)  ARGS= MARK= (e2e: for pytest)

PREFIX  ?= /usr/local
PYTHON  ?= /usr/bin/python3# Debian's, which has Debian's pytest; another python3 may stand first in PATH.
PHOTO   ?= /usr/share/matplotlib/mpl-data/sample_data/grace_hopper.jpg
VIPS    ?= auto
SECONDS ?= 30
COUNT   ?= 100000
SEEDS   ?= 10000

# ---- Where things go ----
# The prebuilt libvips is fetched once, into build/vips, for every B.

B := build$(if $(SAN),/$(SAN:address=asan))
ifeq ($(SAN),thread)
B := build/tsan
else ifeq ($(SAN)$(VIPS),system)
B := build/system-vips
endif
VIPS_MK := build/vips/$(VIPS).mk

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
Q := $(if $(V),,@)
say = @printf '  %-6s %s\n' $(1) '$(2)'

# ---- Compilers, flags, libraries ----
# Asked for only when something is compiled: setup must run on a machine that has none of it yet.

PACKAGES := libmicrohttpd nanomsg libsodium lmdb jansson inih libprotobuf-c libzstd libcurl libcrypto libseccomp expat zlib
ifneq ($(filter-out help clean setup run test suite check format model,$(or $(MAKECMDGOALS),all)),)
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES))
PKG_LIBS   := $(shell pkg-config --libs $(PACKAGES))
$(if $(PKG_LIBS),,$(error Libraries are missing: run scripts/setup))
include $(VIPS_MK)
endif

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wundef \
           -Werror=implicit-function-declaration $(if $(WERROR),-Werror)
INCLUDE  = -Iinclude -I$(B)/gen $(PKG_CFLAGS)
HARDEN  := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
SANITIZE_address := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SANITIZE_thread  := -O1 -fsanitize=thread -fno-omit-frame-pointer
SANITIZE_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
INSTRUMENT := $(if $(SAN),$(or $(SANITIZE_$(SAN)),$(error SAN is address or thread)),$(HARDEN))
COMPILE  = $(CC) -std=gnu11 -D_GNU_SOURCE -fPIE -pthread $(CPPFLAGS) $(CFLAGS) $(INSTRUMENT)
LINK     = $(CC) -pie -pthread $(CFLAGS) $(INSTRUMENT) -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)
LIBS     = $(PKG_LIBS) -lm
# The prebuilt libvips is found beside the programs, in the build folder as after `make install`.
VIPS_RPATH = '-Wl,-rpath,$$ORIGIN/../lib/cavage'
VIPS_LINK  = $(if $(VIPS_SO),$(VIPS_RPATH)) $(VIPS_LIBS)

# Runs a program under the sanitizer in use. TSan cannot map its shadow where the kernel scatters addresses widely.
SAN_ENV := ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 LSAN_OPTIONS=suppressions=$(CURDIR)/scripts/lsan.supp \
           UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=second_deadlock_stack=1:suppressions=$(CURDIR)/scripts/tsan.supp
UNDER   := $(if $(SAN),env CAVAGE_SAN=$(SAN) CAVAGE_TEST_PATIENCE_S=120 $(SAN_ENV)) \
           $(if $(filter thread,$(SAN)),$(shell setarch -R true 2>/dev/null && echo setarch -R))

# ---- The library ----

PROTO    := $(wildcard src/*.proto)
GEN      := $(PROTO:src/%.proto=$(B)/gen/%.pb-c.c)
LIB      := $(B)/libcavage.a
LIB_OBJ  := $(patsubst %.c,$(B)/obj/%.o,$(wildcard src/*.c)) $(GEN:$(B)/%.c=$(B)/obj/%.o)
OBJ      := $(LIB_OBJ)

all: programs ## build the library and the programs (the default)

$(LIB): $(LIB_OBJ)

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: src/%.proto
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(B)/gen && protoc-c --proto_path=src --c_out=$(B)/gen $<

$(B)/obj/gen/%.o: $(B)/gen/%.c $(B)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(COMPILE) -w $(INCLUDE) -c $< -o $@

$(B)/obj/%.o: %.c $(B)/flags | $(GEN:.c=.h)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(COMPILE) $(WARN) $(INCLUDE) -MMD -MP -c $< -o $@

%.a: | $(B)/flags
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

# Changes when the flags do, so that objects of two configurations never mix.
FLAGS := $(COMPILE) $(WARN) $(INCLUDE) $(LINK) $(LIBS) $(VIPS_MK) $(VIPS_VERSION)
$(B)/flags: FORCE
	$(Q)mkdir -p $(@D) && echo "$(FLAGS)" | cmp -s - $@ || echo "$(FLAGS)" >$@

$(B)/lib/cavage: $(VIPS_MK)
	$(Q)mkdir -p $(@D) && ln -sfn $(or $(dir $(VIPS_SO)),.) $@

$(VIPS_MK): scripts/libvips package-lock.json
	$(Q)scripts/libvips $(VIPS) $@

# ---- The programs, and the tests of their folders ----

# $(1) program, $(2) folder, $(3) further compiler flags, $(4) further libraries
define PROGRAM
$(2)_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(2)/*.c))
OBJ += $$($(2)_OBJ)
PROGRAMS += $(if $(wildcard $(2)/*.c),$(B)/bin/$(1))

$(B)/obj/$(2).a: $$(filter-out %/main.o,$$($(2)_OBJ))

$(B)/bin/$(1): $(B)/obj/$(2)/main.o $(B)/obj/$(2).a $(LIB) | $(B)/lib/cavage
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D) && $$(LINK) $$^ $(4) $$(LIBS) -o $$@

$(B)/obj/$(2)/%.o $(B)/obj/tests/unit/test_$(2)_%.o $(B)/obj/tests/fuzz/fuzz_$(2)_%.o $(B)/lint/$(2)/%.tidy: INCLUDE += -I$(2) $(3)
$(B)/lint/tests/unit/test_$(2)_%.tidy $(B)/lint/tests/fuzz/fuzz_$(2)_%.tidy: INCLUDE += -I$(2) $(3)
$(B)/tests/test_$(2)_%: TEST_LIBS = $(4)
$(B)/fuzz/fuzz_$(2)_% $(B)/replay/fuzz_$(2)_%: TEST_LIBS = $(4)
$(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_$(2)_*.c)): $(B)/obj/$(2).a
$(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_$(2)_*.c)): $(B)/obj/$(2).a
$(patsubst tests/fuzz/%.c,$(B)/replay/%,$(wildcard tests/fuzz/fuzz_$(2)_*.c)): $(B)/obj/$(2).a
endef

$(eval $(call PROGRAM,cavage-api,api))
$(eval $(call PROGRAM,cavage-worker,worker,$$(VIPS_CFLAGS),$$(VIPS_LINK)))
$(eval $(call PROGRAM,cavage-authcache,authcache))
$(eval $(call PROGRAM,cavage-meter,meter))
$(eval $(call PROGRAM,cavage,cli))

programs: $(LIB) $(PROGRAMS)
	@echo 'libvips $(VIPS_VERSION) ($(VIPS_FROM)); programs in $(B)/bin'

# ---- Tests ----

UNIT   := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ   := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY := $(FUZZ:%=$(B)/replay/%)
BENCH  := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))
SIM    := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/sim/*.c))
SCALE  := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/scale/*.c))
MUTANT := $(if $(SAN),,$(shell sed -n 's/^mutant \([^ ]*\) .*/\1/p' tests/sim/mutants))
OBJ    += $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/unit/*.c tests/fuzz/*.c bench/*.c)) $(SIM) $(SCALE)

# The order counts for the linker: objects, then the archive of a folder, then the library.
LINK_TEST = $(Q)mkdir -p $(@D) && $(LINK) $(filter %.o,$^) $(filter-out $(LIB),$(filter %.a,$^)) $(LIB)

# NAME_fixture.c is what the tests NAME… have in common.
define FIXTURE
$(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_$(1)*.c)): $(B)/obj/tests/unit/$(1)_fixture.o
endef
$(foreach f,$(wildcard tests/unit/*_fixture.c),$(eval $(call FIXTURE,$(f:tests/unit/%_fixture.c=%))))

$(B)/tests/%: $(B)/obj/tests/unit/%.o $(LIB) | $(B)/lib/cavage
	$(call say,LINK,$@)
	$(LINK_TEST) $(TEST_LIBS) $(LIBS) -lcmocka -o $@

$(B)/replay/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(LIB) | $(B)/lib/cavage
	$(call say,LINK,$@)
	$(LINK_TEST) $(TEST_LIBS) $(LIBS) -o $@

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%.o $(LIB) | $(B)/lib/cavage
	$(call say,LINK,$@)
	$(LINK_TEST) -fsanitize=fuzzer $(TEST_LIBS) $(LIBS) -o $@

$(B)/bench/%: $(B)/obj/bench/%.o $(LIB) | $(B)/lib/cavage
	$(call say,LINK,$@)
	$(LINK_TEST) $(VIPS_LINK) $(LIBS) -o $@

$(B)/sim: $(SIM) $(LIB)
	$(call say,LINK,$@)
	$(LINK_TEST) $(LIBS) -o $@

$(B)/scale: $(SCALE) $(LIB)
	$(call say,LINK,$@)
	$(LINK_TEST) $(LIBS) -o $@

# The mutated object comes before the library, whose own of that name is not looked at then.
$(B)/mutants/%/sim: $(SIM) $(LIB) tests/sim/mutants tests/sim/mutate
	$(call say,MUTANT,$*)
	$(Q)mkdir -p $(@D) && $(PYTHON) tests/sim/mutate tests/sim/mutants $* $(@D)/mutant.c
	$(Q)$(COMPILE) -w $(INCLUDE) -Isrc -c $(@D)/mutant.c -o $(@D)/mutant.o && $(LINK) $(SIM) $(@D)/mutant.o $(LIB) $(LIBS) -o $@

# Images of every format and variant, written by the libvips that is linked: the fuzzer's first inputs.
$(B)/fuzz/make_images: $(B)/obj/tests/fuzz/make_images.o | $(B)/lib/cavage
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(LINK) $^ $(VIPS_LINK) $(LIBS) -o $@

$(B)/fuzz/seeds/fuzz_worker_convert: $(B)/fuzz/make_images
	$(call say,MAKE,$@)
	$(Q)rm -rf $@ && mkdir -p $@ && $(SAN_ENV) $< $@

$(B)/obj/bench/%.o $(B)/lint/bench/%.tidy $(B)/obj/tests/fuzz/make_images.o $(B)/lint/tests/fuzz/make_images.tidy: INCLUDE += $(VIPS_CFLAGS)
# libFuzzer declares nothing: a target's one function has no prototype to match.
$(B)/obj/tests/fuzz/%.o: WARN += -Wno-missing-prototypes

run: ## install what is missing, build, start all daemons, resize PHOTO, serve until Ctrl-C
	@scripts/setup run
	@$(MAKE) all
	@exec scripts/run-demo $(B)/bin $(PHOTO)

test: ## install what is missing, build, run every test
	@scripts/setup test
	@$(MAKE) suite

suite:
	@$(MAKE) all unit-build replay-build sim-build
	@$(MAKE) unit
	@$(MAKE) sim SEEDS=300
	@$(MAKE) replay
	@$(MAKE) e2e

check: ## all that a change must pass beside `make test`: lint, clang, the other libvips, sanitizers
	@scripts/setup test
	@+MAKE='$(MAKE)' B='$(B)' scripts/check

unit-build: $(UNIT)

unit: $(UNIT) ## build and run the unit tests
	@$(UNDER) scripts/unit $(B)/tests $(notdir $(UNIT))

replay-build: $(REPLAY)

replay: $(REPLAY) ## replay the fuzz corpus, without libFuzzer
	@$(UNDER) scripts/replay $(B)/replay $(FUZZ)

e2e: all ## run the end-to-end tests against the programs that are built
	@CAVAGE_BIN='$(abspath $(B))/bin' PYTHON='$(PYTHON)' $(UNDER) scripts/e2e $(if $(MARK),-m '$(MARK)') $(ARGS)

netns: all ## let hosts fail in a region under load, in network namespaces, as root; for minutes
	@$(MAKE) e2e ARGS="tests/e2e/test_network.py -m '' $(ARGS)"

sim-build: $(B)/sim $(B)/scale $(MUTANT:%=$(B)/mutants/%/sim)

sim: sim-build ## play SEEDS histories of faults in the simulator, and look for every mutant
	@$(UNDER) tests/sim/run $(B) $(SEEDS)

scale: $(B)/scale ## simulate a region of full size, ten seeds each, and write docs/scale.md
	@$(PYTHON) tests/scale/report $(B)

fuzz: ## build the fuzz targets with libFuzzer and run each for SECONDS
	@$(MAKE) B=$(B)/fuzzing CC=clang SAN=fuzz fuzz-build
	@$(SAN_ENV) scripts/fuzz $(B)/fuzzing/fuzz $(SECONDS) $(FUZZ)

fuzz-build: $(FUZZ:%=$(B)/fuzz/%) $(B)/fuzz/seeds/fuzz_worker_convert

model: ## check the model of the pipeline exhaustively, and that its broken variants are found (minutes; QUICK=1: the small runs)
	@scripts/setup test
	@scripts/model $(B)/model $(if $(QUICK),quick)

bench: all $(BENCH) ## measure: cost of a resize, latency added, memory
	@bench/run $(B)/bin $(B)/bench

bench-load: all $(B)/bench/relay ## measure under load, with stub converters: dispatch, overload, one greedy customer, CPU of the API
	@$(PYTHON) bench/load $(B)/bin $(B)/bench $(ARGS)

tail: all ## measure: requests while a worker is slow, paused or killed; waits when workers are idle
	@$(PYTHON) bench/tail $(B)/bin $(ARGS)

soak: all ## send COUNT images of each kind through one converter, whose memory must stay flat
	@$(PYTHON) bench/soak $(B)/bin --count $(COUNT) $(ARGS)

# ---- Lint ----

C_DIRS  := include/cavage src api worker authcache meter cli tests/unit tests/sim tests/scale tests/fuzz bench
C_FILES := $(wildcard $(C_DIRS:%=%/*.c))
H_FILES := $(wildcard $(C_DIRS:%=%/*.h))
MAN     := $(patsubst docs/man/%,$(B)/man/%,$(wildcard docs/man/*.[1-9])) $(if $(wildcard cli/config.c),$(B)/man/cavage.conf.5)
HASH    := \#
SCRIPTS := $(shell grep -lE '^$(HASH)!.*/(env )?(ba)?sh' $(wildcard scripts/* .ci/run bench/* tests/e2e/* tests/sim/run tests/sim/mutate tests/scale/report))
PYTHONS := $(sort $(wildcard scripts/*.py bench/*.py tests/e2e/*.py) $(shell grep -lE '^$(HASH)!.*python' $(wildcard scripts/* bench/* tests/e2e/* tests/sim/run tests/sim/mutate tests/scale/report)))

lint: lint-format lint-tidy lint-cppcheck lint-scripts ## clang-format, clang-tidy, cppcheck, shellcheck, pyflakes

lint-format:
	$(call say,CHECK,clang-format)
	@bad=$$(for f in $(C_FILES) $(H_FILES); do clang-format --dry-run -Werror $$f 2>/dev/null || echo "  $$f"; done); \
	    [ -z "$$bad" ] || { printf 'Not as .clang-format has it (make format mends it):\n%s\n' "$$bad"; exit 1; }
	@bad=$$(grep -L 'SPDX-License-Identifier: MIT' $(C_FILES) $(H_FILES) $(SCRIPTS)); \
	    [ -z "$$bad" ] || { printf 'Without a licence line:\n%s\n' "$$bad"; exit 1; }

lint-tidy: $(C_FILES:%.c=$(B)/lint/%.tidy)

$(B)/lint/%.tidy: %.c $(H_FILES) .clang-tidy $(B)/flags | $(GEN:.c=.h)
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D) && clang-tidy --quiet --warnings-as-errors='*' $< -- -std=gnu11 -D_GNU_SOURCE $(INCLUDE) >$@.log 2>&1 || \
	    { cat $@.log; exit 1; }
	$(Q)touch $@

lint-cppcheck: $(GEN)
	$(call say,CHECK,cppcheck)
	$(Q)mkdir -p $(B)/lint/cppcheck && cppcheck --quiet --std=c11 -D_GNU_SOURCE -Iinclude --library=posix,gnu \
	    --enable=warning,performance,portability --inline-suppr --suppress='*:$(B)/gen/*' --cppcheck-build-dir=$(B)/lint/cppcheck \
	    -j $(shell nproc) --error-exitcode=1 $(C_FILES)

lint-scripts: $(MAN)
	$(call say,CHECK,scripts)
	$(Q)shellcheck $(SCRIPTS)
	$(Q)$(PYTHON) -m pyflakes $(PYTHONS) </dev/null
	$(if $(MAN),$(Q)mandoc -T lint -W warning $(MAN))

sizes: ## list the files over 500 lines and the functions over 60: they deserve a look
	@wc -l $(C_FILES) $(H_FILES) | awk '$$2 != "total" && $$1 > 500 { print "  " $$1, $$2 }'
	@ctags -o - --c-kinds=f --fields=+ne $(C_FILES) | awk -F '\t' '{ for (i = 4; i <= NF; i++) { \
	    if ($$i ~ /^line:/) a = substr($$i, 6); if ($$i ~ /^end:/) b = substr($$i, 5) } \
	    if (b - a + 1 > 60) print "  " b - a + 1, $$2 ":" $$1 }'

format: ## rewrite the C sources with clang-format
	@clang-format -i $(C_FILES) $(H_FILES)

# ---- Everything else ----

man: $(MAN) ## make the manual pages

$(B)/man/cavage.conf.5: $(B)/bin/cavage
	$(Q)mkdir -p $(@D) && $< config manual >$@

sample: $(B)/bin/cavage ## rewrite conf/cavage.conf from the table of keys
	@mkdir -p conf && $< config sample >conf/cavage.conf

# Its list of options comes from the table of parameters.
$(B)/man/cavage.1: docs/man/cavage.1 $(B)/bin/cavage
	$(Q)mkdir -p $(@D) && $(B)/bin/cavage config parameters >$@.list && sed -e '/^\.\\" PARAMETERS$$/{r $@.list' -e 'd}' $< >$@ && rm $@.list

$(B)/man/%: docs/man/%
	$(Q)mkdir -p $(@D) && cp $< $@

images: all ## remake the pictures of docs/images.md
	@CAVAGE_BIN='$(abspath $(B))/bin' PYTHONDONTWRITEBYTECODE=1 $(PYTHON) scripts/pictures.py

BINDIR := $(DESTDIR)$(PREFIX)/bin
install: all man ## install below PREFIX (default /usr/local), in DESTDIR
	install -d $(BINDIR)
	install -m 755 $(PROGRAMS) $(BINDIR)
	$(if $(VIPS_SO),install -d $(DESTDIR)$(PREFIX)/lib/cavage && install -m 644 $(VIPS_SO) $(DESTDIR)$(PREFIX)/lib/cavage)
	$(if $(VIPS_SO),install -D -m 644 $(dir $(VIPS_SO))../README.md $(DESTDIR)$(PREFIX)/share/doc/cavage/libvips.md)
	$(foreach m,$(MAN),install -D -m 644 $(m) $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(m)))/$(notdir $(m)) &&) true
	$(foreach c,$(wildcard conf/cavage.conf),install -D -m 644 $(c) $(DESTDIR)$(PREFIX)/share/cavage/cavage.conf)

setup: ## install the Debian packages and the libvips that are missing
	@scripts/setup test

clean: ## remove what was built
	rm -rf $(B)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
	@sed -n 's/^# \(Variables: .*\)/\n\1/p; s/^#\( \{12\}.*\)/\1/p' Makefile

.PHONY: FORCE all programs run test suite check unit unit-build replay replay-build e2e sim sim-build scale fuzz fuzz-build model bench bench-load tail soak lint lint-format lint-tidy \
        lint-cppcheck lint-scripts sizes format sample man images install setup clean help

-include $(OBJ:.o=.d)
