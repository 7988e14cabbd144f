# nacosfs: mount a Nacos config centre as plain files.
#
#   make                 builds ./nacosfs
#   make demo            sets up everything on a fresh Debian 12 and shows the main job (demo-stop cleans up)
#   make check           installs what the tests need and passes all of them
#   make unit            only the C unit tests
#   make install         DESTDIR and prefix as usual
#   make clean

prefix ?= /usr/local
bindir = $(prefix)/bin
mandir = $(prefix)/share/man
# mount(8) looks for its helpers there and nowhere else
mounthelperdir ?= /sbin

PKG_CONFIG ?= pkg-config
VERSION = 0.1.0
PACKAGES = fuse3 libcurl libcrypto libcjson
OPTIMIZE ?= -O2 -g
WARN = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
BUILD ?= build

ifneq ($(MAKECMDGOALS),clean)
CPPFLAGS_LIBS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null)
LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null)
ifeq ($(shell $(PKG_CONFIG) --exists libsystemd 2>/dev/null && echo yes),yes)
CPPFLAGS_LIBS += -DHAVE_SYSTEMD $(shell $(PKG_CONFIG) --cflags libsystemd)
LIBS += $(shell $(PKG_CONFIG) --libs libsystemd)
endif
endif

ALL_CPPFLAGS = -I. -D_GNU_SOURCE -DNACOSFS_VERSION='"$(VERSION)"' $(CPPFLAGS_LIBS) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(OPTIMIZE) $(WARN) -fstack-protector-strong -pthread $(CFLAGS) $(SANITIZE)
ALL_LDFLAGS = -pthread $(LDFLAGS) $(SANITIZE)

SOURCES := $(wildcard util/*.c nacos/*.c store/*.c fs/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY_OBJECTS := $(filter-out $(BUILD)/fs/main.o,$(OBJECTS))
UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT_PROGRAMS := $(UNIT_SOURCES:%.c=$(BUILD)/%)

# V=1 shows the commands whole.
quiet = $(if $(V),,@echo "  $(1) $@";)

all: nacosfs

ifeq ($(BUILD),build)
nacosfs: $(BUILD)/nacosfs
	@ln -sf $< $@
endif

$(BUILD)/nacosfs: $(OBJECTS)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Unit tests link everything but main; the linker drops what a test does not use.
$(BUILD)/libnacosfs.a: $(LIBRARY_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libnacosfs.a
	@mkdir -p $(@D)
	$(call quiet,TEST)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -MF $@.d $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libnacosfs.a $(LIBS) -lcmocka

-include $(OBJECTS:.o=.d) $(UNIT_PROGRAMS:=.d)

unit: $(UNIT_PROGRAMS)
	@set -e; for program in $(UNIT_PROGRAMS); do $$program; done

.PHONY: all unit clean
