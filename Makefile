# nacosfs: mount a Nacos config centre as plain files.
#
#   make                 builds ./nacosfs and its man page
#   make demo            sets up everything on a fresh Debian 12 and shows the main job; make demo-stop cleans up
#   make check           installs what the tests need and passes all of them (as root)
#   make unit            only the C unit tests; T=save: those programs that have it in their name
#   make test T=FILE     tests of one file of tests/ on real servers (as root): T=test_writing.py, T=test_writing.py::NAME
#   make bench           measures a mount against the bare calls, and the wire against the official Java client (as root)
#   make soak            saves under random faults for long: SAVES=2000, SEED=N to repeat (as root)
#   make fuzz            feeds what parses bytes from outside with changed ones: ROUNDS=100000
#   make asan            builds build-asan/nacosfs, with AddressSanitizer and UBSan; make tsan: ThreadSanitizer;
#                        make checked: what the tests use, which ends where the code breaks a rule of its own
#   make mutants         plants faults, one at a time, and says which of them no test notices; M=NAME: those that have it
#                        in their name
#   make locks           has clang check that locks are held where they must be (util/annotations.h)
#   make install         DESTDIR and prefix as usual; make uninstall
#   make clean
#
# V=1 shows the commands whole.

prefix ?= /usr/local
bindir ?= $(prefix)/bin
mandir ?= $(prefix)/share/man
# mount(8) looks for its helpers there, whatever the prefix is.
mounthelperdir ?= /sbin

VERSION = 0.1.0
PACKAGES = fuse3 libcurl libssl libcrypto libnghttp2 libcjson mount
PKG_CONFIG ?= pkg-config
INSTALL ?= install
OPTIMIZE ?= -O2 -g
WARN = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
BUILD ?= build

all: $(BUILD)/nacosfs $(BUILD)/nacosfs.8

# The other goals compile nothing, or install what they need first and then call make again.
ifneq ($(filter-out clean uninstall demo demo-stop check mutants,$(or $(MAKECMDGOALS),all)),)
MISSING := $(strip $(foreach package,$(PACKAGES),\
	$(shell $(PKG_CONFIG) --exists $(package) 2>/dev/null || echo $(package))))
ifneq ($(MISSING),)
$(error $(PKG_CONFIG) does not find $(MISSING); on Debian, `tools/install-packages build` installs what is needed)
endif
CPPFLAGS_LIBS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES))
ifeq ($(shell $(PKG_CONFIG) --exists libsystemd && echo yes),yes)
CPPFLAGS_LIBS += -DHAVE_SYSTEMD $(shell $(PKG_CONFIG) --cflags libsystemd)
LIBS += $(shell $(PKG_CONFIG) --libs libsystemd)
endif
endif

# CHECKED=1: the program ends where a rule is broken that only the code can break (util/wait.h).
ALL_CPPFLAGS = -I. -D_GNU_SOURCE -DNACOSFS_VERSION='"$(VERSION)"' $(if $(CHECKED),-DNACOSFS_CHECKED) $(CPPFLAGS_LIBS) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(OPTIMIZE) $(WARN) -fstack-protector-strong -pthread $(CFLAGS) $(SANITIZE)
ALL_LDFLAGS = -pthread $(LDFLAGS) $(SANITIZE)

OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard util/*.c crypto/*.c nacos/*.c nacos/*/*.c model/*.c store/*.c fs/*.c fs/*/*.c main/*.c))
LIBRARY_OBJECTS := $(filter-out $(BUILD)/main/main.o,$(OBJECTS))
UNIT_PROGRAMS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*$(T)*.c))

quiet = $(if $(V),,@echo "  $(1) $@";)

ifeq ($(BUILD),build)
all: nacosfs

nacosfs: $(BUILD)/nacosfs
	@ln -sf $< $@
endif

$(BUILD)/nacosfs: $(OBJECTS)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Everything but main, for the programs below; the linker takes from it what each of them uses.
$(BUILD)/libnacosfs.a: $(LIBRARY_OBJECTS)
	@rm -f $@
	$(call quiet,AR)$(AR) rcs $@ $^

# The man page has its options from the program's own table.
$(BUILD)/nacosfs.8: doc/nacosfs.8 $(BUILD)/doc/option-manual
	$(call quiet,GEN)$(BUILD)/doc/option-manual $< > $@.new && mv $@.new $@

$(BUILD)/doc/option-manual: doc/option-manual.c $(BUILD)/libnacosfs.a
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libnacosfs.a $(LIBS)

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libnacosfs.a
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libnacosfs.a $(LIBS) -lcmocka

-include $(OBJECTS:.o=.d) $(UNIT_PROGRAMS:=.d) $(BUILD)/doc/option-manual.d

ifneq ($(CHECKED),)
unit-programs: $(or $(UNIT_PROGRAMS),$(error no program in tests/unit has "$(T)" in its name))

unit: unit-programs
	@set -e; for program in $(UNIT_PROGRAMS); do $$program; done
else
unit-programs unit:
	@$(MAKE) --no-print-directory checked GOAL=$@
endif

# `make asan` builds the program, `make asan GOAL=unit` passes the unit tests; so do the others.
GOAL ?= all
checked:
	@$(MAKE) --no-print-directory BUILD=build-checked CHECKED=1 $(GOAL)

asan:
	@$(MAKE) --no-print-directory BUILD=build-asan CHECKED=1 OPTIMIZE="-O1 -g -fno-omit-frame-pointer" \
		SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all" $(GOAL)

tsan:
	@$(MAKE) --no-print-directory BUILD=build-tsan CHECKED=1 OPTIMIZE="-O1 -g -fno-omit-frame-pointer" \
		SANITIZE="-fsanitize=thread" $(GOAL)

mutants:
	@tests/mutants/run $(M)

CLANG ?= $(firstword $(shell command -v clang-22 clang) clang)
$(BUILD)/%.locks: %.c
	@mkdir -p $(@D)
	$(call quiet,LOCKS)$(CLANG) $(ALL_CPPFLAGS) -DNACOSFS_CHECKED -std=gnu11 $(WARN) -Werror -Wthread-safety -fsyntax-only \
		-MMD -MP -MT $@ -MF $@.d $<
	@touch $@

LOCKS := $(OBJECTS:.o=.locks)
locks: $(LOCKS)
-include $(LOCKS:=.d)

# Debian's Python, whose packages tools/install-packages installs. T may have more arguments: T="test_writing.py -k 3.1.0".
PYTEST = LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -ra --timeout=300 \
	-o "markers=slow: is left out of the pass under sanitizers"
test:
	@$(MAKE) --no-print-directory checked GOAL=build-checked/nacosfs T=
	NACOSFS_BINARY=$(or $(NACOSFS_BINARY),build-checked/nacosfs) $(PYTEST) \
		tests/$(or $(T),$(error which? make test T=test_writing.py::NAME; all of them: make check))

demo:
	@tools/demo start

demo-stop:
	@tools/demo stop

check:
	@tools/check

install: all
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(mandir)/man8 $(DESTDIR)$(mounthelperdir)
	$(INSTALL) -m 0755 $(BUILD)/nacosfs $(DESTDIR)$(bindir)/nacosfs
	$(INSTALL) -m 0644 $(BUILD)/nacosfs.8 $(DESTDIR)$(mandir)/man8/nacosfs.8
	ln -sf nacosfs.8 $(DESTDIR)$(mandir)/man8/mount.nacosfs.8
	ln -sf $(bindir)/nacosfs $(DESTDIR)$(mounthelperdir)/mount.nacosfs

uninstall:
	rm -f $(DESTDIR)$(mounthelperdir)/mount.nacosfs $(DESTDIR)$(bindir)/nacosfs \
		$(DESTDIR)$(mandir)/man8/mount.nacosfs.8 $(DESTDIR)$(mandir)/man8/nacosfs.8

bench: all
	/usr/bin/python3 tests/bench/bench.py
	/usr/bin/python3 tests/bench/transport.py

SAVES ?= 2000
soak: all
	NACOSFS_FAULT_SAVES=$(SAVES) NACOSFS_FAULT_SEED=$(SEED) /usr/bin/python3 -m pytest -s -q tests/test_faults.py -k random

ROUNDS ?= 100000
FUZZ_PROGRAMS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(BUILD)/libnacosfs.a
	@mkdir -p $(@D)
	$(call quiet,FUZZ)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libnacosfs.a $(LIBS)

fuzz-programs: $(FUZZ_PROGRAMS)
	@set -e; for program in $^; do echo "$$program"; $$program $(ROUNDS); done

fuzz:
	$(MAKE) asan GOAL=fuzz-programs ROUNDS=$(ROUNDS)

clean:
	rm -rf build build-checked build-asan build-tsan nacosfs

.PHONY: all unit-programs unit test mutants locks bench soak fuzz fuzz-programs checked asan tsan demo demo-stop check install uninstall clean
