# MPIP: every target a person types. `make help` lists them.

PREFIX  ?= /usr/local
DESTDIR ?=
# Relative names given to RUN mean the folder make was called from, which `make -C` has left.
CALLER  := $(or $(if $(shell tr '\0' '\n' </proc/$$PPID/cmdline | grep -E '^(-[A-Za-z]*C|--directory)'),$(PWD)),$(CURDIR))

# A kernel given by KDIR is there already: nothing has to be fetched to build for it.
KERNEL_SETUP := $(if $(KDIR),,setup)

export KDIR MPIP_KERNEL MPIP_CACHE MPIP_MIRROR MPIP_KVM MPIP_VM_MEM MPIP_VM_CPUS MPIP_VM_TIMEOUT

.DEFAULT_GOAL := all
.PHONY: all module cli static docs-cli docs-screens setup setup-root update-kernel install uninstall \
        clean distclean-cache help vm uml test test-long host-test kunit test-debug test-intree test-arm64 test-android test-compilers test-static test-hosts vm-test demo \
        bench bench-failover bench-report experiments \
        check check-module uapi uapi-check

all: module docs-cli ## build build/mpip.ko and build/mpipctl (default)

module: $(KERNEL_SETUP) ## build build/mpip.ko (KDIR=DIR: against another prepared kernel)
	@scripts/build-module

cli: setup-root ## build build/mpipctl
	@scripts/build-cli

static: cli ## build build/static/mpipctl-{x86_64,aarch64}, which need no library
	@scripts/setup --cross
	@scripts/build-static

docs-cli: cli ## write the manual pages and completions to build/docs-cli
	@scripts/docs-cli

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

test: ## build, and run the tests of module, logic and tool
	@scripts/test

host-test: setup-root ## test the logic and mpipctl without a kernel
	@scripts/host-test

test-intree: setup cli ## build MPIP inside a kernel's tree, =y and =m, and test both in User-Mode Linux
	@scripts/setup --uml
	@scripts/test-intree $(ARGS)

kunit: setup ## run the KUnit suites of the module in User-Mode Linux (ARGS='mpip_sums.*')
	@scripts/setup --uml
	@scripts/kunit $(ARGS)

test-debug: setup cli ## test on a kernel with KASAN, lockdep, UBSAN, kmemleak and faults (ARGS: tests)
	@scripts/setup --debug
	@scripts/build-module --debug
	@scripts/test-debug $(ARGS)

test-arm64: setup cli ## load mpip.ko into Debian's stock kernel for arm64 under QEMU, and test it there (ARGS: tests)
	@scripts/setup --arm64
	@scripts/build-module --arm64
	@scripts/build-static aarch64
	@scripts/test-arm64 $(ARGS)

test-static: setup all ## test mpipctl without any shared library against the module, in the VM (ARGS: tests)
	@scripts/build-static x86_64
	@scripts/test-static $(ARGS)

test-hosts: setup all ## install on two fresh Debians with systemd and two links between them, follow the quickstart, restart
	@scripts/setup --hosts
	@scripts/test-hosts

test-compilers: setup cli ## build mpip.ko by clang, and by the newest rustc of Debian, and test both (ARGS: tests)
	@scripts/setup --compilers
	@scripts/build-module --clang
	@scripts/build-module --rustc
	@scripts/test-compilers $(ARGS)

test-android: setup cli ## build an arm64 kernel as Android does, MPIP in it, and test in it under QEMU (ARGS: tests)
	@scripts/setup --android
	@scripts/build-static aarch64
	@scripts/test-android $(ARGS)

vm-test: setup all ## test the module in the VM
	@scripts/vm-test $(ARGS)

test-long: setup all ## test the module in the VM with the long cases, too
	@scripts/vm-test --long

docs-screens: setup all ## make the pictures of `mpipctl top` and `doctor` in docs/ anew, in the VM
	@scripts/vm selftests/docs-screens '$(CURDIR)/docs'

demo: setup all ## run the demonstration in the VM; results in build/demo
	@scripts/demo $(ARGS)

bench: setup all ## measure beside TCP, MPTCP, WireGuard; writes docs/performance.md (ARGS='fct cpu --runs 3', --quick)
	@scripts/bench $(ARGS)

bench-report: setup ## write docs/performance.md from the results in build/bench
	@scripts/bench report

bench-failover: setup all ## lose and regain paths beside MPTCP, in the VM; results in build/bench (ARGS=--quick)
	@scripts/bench failover $(ARGS)

experiments: setup all ## repeat experiments of the papers in the VM; results in build/experiments (ARGS='audio shared', --quick)
	@scripts/experiments $(ARGS)

check: setup ## formatting, lints, documentation, shell scripts, generated files
	@scripts/check

check-module: $(KERNEL_SETUP) ## clippy on the module, warnings are errors
	@scripts/build-module --clippy

uapi: setup ## regenerate mpip/uapi from mpip.yaml
	@scripts/uapi

uapi-check: setup ## fail if mpip/uapi is out of date
	@scripts/uapi --check

# What goes where below $(DESTDIR)$(PREFIX): mode, source, place.
INSTALLED := \
	755:build/mpipctl:sbin/mpipctl \
	644:build/docs-cli/mpipctl.8:share/man/man8/mpipctl.8 \
	644:build/docs-cli/mpip.5:share/man/man5/mpip.5 \
	644:packaging/mpip.toml:share/doc/mpip/mpip.toml \
	644:build/docs-cli/mpipctl.bash:share/bash-completion/completions/mpipctl \
	644:build/docs-cli/_mpipctl:share/zsh/site-functions/_mpipctl \
	644:build/docs-cli/mpipctl.fish:share/fish/vendor_completions.d/mpipctl.fish \
	644:wireshark/mpip.lua:share/mpip/wireshark/mpip.lua \
	644:packaging/modules-load.conf:lib/modules-load.d/mpip.conf \
	644:packaging/sysctl.conf:lib/sysctl.d/60-mpip.conf \
	644:build/mpip.service:lib/systemd/system/mpip.service

install: ## install module, mpipctl, its page and completions, dissector, files for systemd (DESTDIR, PREFIX); build first
	@test -e build/mpip.ko -a -e build/mpipctl -a -e build/docs-cli/mpipctl.fish || \
		{ echo "error: run 'make' first" >&2; exit 1; }
	install -D -m 644 build/mpip.ko '$(DESTDIR)/lib/modules/$(file <build/kver)/updates/mpip.ko'
	@sed 's|@PREFIX@|$(PREFIX)|' packaging/mpip.service >build/mpip.service
	@set -e; for entry in $(INSTALLED); do \
		IFS=:; set -- $$entry; unset IFS; \
		echo install -D -m "$$1" "$$2" '$(DESTDIR)$(PREFIX)/'"$$3"; \
		install -D -m "$$1" "$$2" '$(DESTDIR)$(PREFIX)/'"$$3"; \
	done
	$(if $(DESTDIR),,depmod '$(file <build/kver)')

uninstall: ## remove what install installed
	rm -f $(foreach entry,$(INSTALLED),'$(DESTDIR)$(PREFIX)/$(lastword $(subst :, ,$(entry)))')
	rm -f '$(DESTDIR)'/lib/modules/*/updates/mpip.ko
	@cd '$(DESTDIR)$(PREFIX)' && rmdir share/doc/mpip share/mpip/wireshark share/mpip 2>/dev/null || :
	$(if $(DESTDIR),,for dir in /lib/modules/*/; do depmod "$$(basename "$$dir")"; done)

clean: ## delete what was built here; the cache stays
	@scripts/clean

distclean-cache: ## delete the cache (build root, kernels)
	@scripts/distclean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
