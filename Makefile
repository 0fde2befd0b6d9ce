# SPDX-License-Identifier: Apache-2.0
# The menu: `make help`. The build itself is meson and ninja, in b/.
.DEFAULT_GOAL := build
SHELL := /bin/bash
PREFIX ?= /usr/local
SUITE ?= unit
# As it was written: make would take each $ for one of its own variables.
export LAB_JOB := $(value CMD)
T ?= 60

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

deps: ## install the Debian packages that building, testing and running need (root)
	@tools/deps

build: deps ## build everything; the programs go to b/root/bin
	@mkdir -p b
	@test -f b/dev/build.ninja || meson setup b/dev --prefix '$(CURDIR)/b/root' >b/setup.log 2>&1 || { cat b/setup.log; exit 1; }
	@ninja -C b/dev
	@meson install -C b/dev --quiet --no-rebuild

image: build ## build the guest image (kernel and initramfs) from Debian packages
	@b/root/bin/podvm image build

kernel: build ## build the guest's own kernel from Debian's source (5 to 10 minutes), and the image with it
	@tools/deps kernel
	@b/root/bin/podvm image build --kernel tuned

demo: ## set up, build, and run a Pod in its own micro-VM
	@tools/demo

cri-demo: ## a Pod in its own micro-VM through a private containerd, as Kubernetes does it (root)
	@tools/cri-demo

check: build ## unit tests and fuzz corpus replay (SUITE=unit)
	@meson test -C b/dev -t 4 --suite $(SUITE) --print-errorlogs

asan: deps ## the same under AddressSanitizer and UBSan
	@test -f b/asan/build.ninja || meson setup b/asan -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	@ninja -C b/asan && meson test -C b/asan -t 4 --suite $(SUITE) --print-errorlogs

clang: deps ## build and run the unit tests with clang
	@test -f b/clang/build.ninja || CC=clang meson setup b/clang >/dev/null
	@ninja -C b/clang && meson test -C b/clang -t 4 --suite $(SUITE) --print-errorlogs

func: build ## functional tests: real pods in real VMs (root)
	@tools/func-tests

kvm: image ## tests that need KVM: on this machine's, or in the lab where it cannot run stock kernels (root)
	@tools/demo-image && tools/lab-tests

qemu10: image ## pods under Debian 13's QEMU, fetched and unpacked aside (root)
	@tools/demo-image && bats --timing tests/qemu10.bats

kernels-check: image ## Pods on our monitor with Debian's 6.12 and 7.x kernels: fetched, in the lab (root)
	@tools/demo-image && tools/kernels-check

lab: ## run CMD='...' in the lab: an emulated Debian machine with real KVM (root)
	@[[ -n $$LAB_JOB ]] || { echo "make lab: CMD='...' is missing: what to run" >&2; exit 1; }
	@$(MAKE) --no-print-directory -s build CMD= >&2
	@tools/lab "$$LAB_JOB"

lab-shell: build ## a shell in the lab
	@tools/lab --shell

fuzz: deps ## every fuzz target for T seconds (T=60)
	@tools/fuzz-run $(T)

bench: image ## the measurements that the promises name (bench/)
	@bench/run

tidy: ## layers, sizes, format, cppcheck, shellcheck
	@tools/tidy

fmt: ## reformat with clang-format
	@git ls-files '*.c' '*.h' | xargs clang-format -i

test: ## everything: tidy, both compilers, unit, sanitizers, fuzz replay, functional, KVM
	@tools/test-all

# Not with -Werror: other compilers, and other optimisation, have other opinions. No tests, which `make test` builds.
RELEASE = --prefix '$(PREFIX)' --buildtype release -Doptimization=2 -Dwerror=false -Dtests=disabled --strip
install: deps ## build for release and install below PREFIX=/usr/local (DESTDIR is honoured)
	@mkdir -p b
	@meson setup b/release --reconfigure $(RELEASE) >b/setup.log 2>&1 || meson setup b/release $(RELEASE) >b/setup.log 2>&1 || { cat b/setup.log; exit 1; }
	@ninja -C b/release && meson install -C b/release --quiet

clean: ## remove b/
	@rm -rf b

.PHONY: help deps build image kernel demo cri-demo check asan clang func kvm qemu10 kernels-check lab lab-shell fuzz bench tidy fmt test install clean
