# MPIP: every target a person types. `make help` lists them.

PREFIX  ?= /usr/local
DESTDIR ?=
# Relative names given to RUN mean the folder make was called from, which `make -C` has left.
CALLER  := $(or $(if $(shell tr '\0' '\n' </proc/$$PPID/cmdline | grep -E '^(-[A-Za-z]*C|--directory)'),$(PWD)),$(CURDIR))

# A kernel given by KDIR is there already: nothing has to be fetched to build for it.
KERNEL_SETUP := $(if $(KDIR),,setup)

export KDIR MPIP_KERNEL MPIP_CACHE MPIP_MIRROR MPIP_KVM MPIP_VM_MEM MPIP_VM_CPUS MPIP_VM_TIMEOUT

.DEFAULT_GOAL := all
.PHONY: all module cli setup setup-root update-kernel install uninstall clean distclean-cache help \
        vm uml test host-test vm-test demo bench bench-failover bench-report check check-module uapi uapi-check

all: module cli ## build build/mpip.ko and build/mpipctl (default)

module: $(KERNEL_SETUP) ## build build/mpip.ko (KDIR=DIR: against another prepared kernel)
	@scripts/build-module

cli: setup-root ## build build/mpipctl
	@scripts/build-cli

setup: ## fetch and prepare compiler, kernel and VM once (MPIP_KERNEL=7.3: that kernel)
	@scripts/setup

setup-root: ## of that, only the build root: compilers, cargo, QEMU
	@scripts/setup --root-only

update-kernel: ## look for a newer kernel and prepare it
	@scripts/setup --update-kernel

# make exits with 2 whatever the script returned, so the number is printed.
vm: setup all ## boot the VM: RUN=script ARGS='…' runs that script, nothing gives a shell
ifdef RUN
	@cd '$(CALLER)' && '$(CURDIR)/scripts/vm' "$$(realpath -s '$(RUN)')" $(ARGS) || \
		{ status=$$?; echo "exit status $$status" >&2; exit $$status; }
else
	@scripts/vm
endif

uml: setup all ## User-Mode Linux, native speed: RUN=script ARGS='…' runs that script in it, nothing only builds
	@scripts/setup --uml
	@scripts/build-module --uml
ifdef RUN
	@cd '$(CALLER)' && '$(CURDIR)/scripts/uml' "$$(realpath -s '$(RUN)')" $(ARGS) || \
		{ status=$$?; echo "exit status $$status" >&2; exit $$status; }
endif

test: ## build and run every test
	@scripts/test

host-test: setup-root ## test the logic and mpipctl without a kernel
	@scripts/host-test

vm-test: setup all ## test the module in the VM
	@scripts/vm-test $(ARGS)

demo: setup all ## run the demonstration in the VM; results in build/demo
	@scripts/demo $(ARGS)

bench: setup all ## measure beside TCP, MPTCP, WireGuard; writes docs/performance.md (ARGS='fct cpu --runs 3', --quick)
	@scripts/bench $(ARGS)

bench-report: setup ## write docs/performance.md from the results in build/bench
	@scripts/bench report

bench-failover: setup all ## lose and regain paths beside MPTCP, in the VM; results in build/bench (ARGS=--quick)
	@scripts/bench failover $(ARGS)

check: setup ## formatting, lints, documentation, shell scripts, generated files
	@scripts/check

check-module: $(KERNEL_SETUP) ## clippy on the module, warnings are errors
	@scripts/build-module --clippy

uapi: setup ## regenerate mpip/uapi from mpip.yaml
	@scripts/uapi

uapi-check: setup ## fail if mpip/uapi is out of date
	@scripts/uapi --check

install: ## install module and mpipctl (DESTDIR, PREFIX); build first
	@test -e build/mpip.ko -a -e build/mpipctl || { echo "error: run 'make' first" >&2; exit 1; }
	install -D -m 644 build/mpip.ko '$(DESTDIR)/lib/modules/$(file <build/kver)/updates/mpip.ko'
	install -D -m 755 build/mpipctl '$(DESTDIR)$(PREFIX)/sbin/mpipctl'
	$(if $(DESTDIR),,depmod '$(file <build/kver)')

uninstall: ## remove what install installed
	rm -f '$(DESTDIR)$(PREFIX)/sbin/mpipctl'
	rm -f '$(DESTDIR)'/lib/modules/*/updates/mpip.ko
	$(if $(DESTDIR),,for dir in /lib/modules/*/; do depmod "$$(basename "$$dir")"; done)

clean: ## delete what was built here; the cache stays
	@scripts/clean

distclean-cache: ## delete the cache (build root, kernels)
	@scripts/distclean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
