# shellcheck shell=bash
# Part of `setup --compilers`: what it takes to try compilers other than those that built the stock kernel. C may
# come from clang, with the kernel's headers prepared for it. A Rust module fits only the kernel that the very same
# rustc built: the newest one has a User-Mode Linux of its own.

RUSTC_DIR=$CACHE/rustc
rustc_ready() { [ -e "$RUSTC_DIR/.complete" ]; }
# Beside the build root, which keeps the kernel's.
fetch_rustc() {
	local new=$RUSTC_DIR.new suite=trixie-backports std llvm deb
	apt amd64 apt-get update
	std=$(needs "libstd-rust-dev/$suite" libstd-rust-)
	llvm=$(needs "$std/$suite" libllvm)
	rm -rf "$new"
	mkdir -p "$new/debs"
	(cd "$new/debs" && download {rustc,rust-src,libstd-rust-dev,"$std"}/$suite "$llvm")
	for deb in "$new"/debs/*.deb; do dpkg-deb -x "$deb" "$new"; done
	rm -r "$new/debs"
	cat >"$new/rustc" <<-EOF
		#!/bin/sh
		LD_LIBRARY_PATH='$RUSTC_DIR/usr/lib/x86_64-linux-gnu' exec '$RUSTC_DIR/usr/bin/rustc' "\$@"
	EOF
	chmod 755 "$new/rustc"
	rm -rf "$RUSTC_DIR"
	mv "$new" "$RUSTC_DIR"
	"$REPO/scripts/in-root" "$RUSTC_DIR/rustc" --version
	touch "$RUSTC_DIR/.complete"
}
# needs PACKAGE PREFIX: the package of that name's beginning that it depends on
needs() { apt amd64 apt-cache depends "$1" | sed -n "s/.*Depends: \($2[0-9.]*\)\$/\1/p" | grep -m 1 .; }

uml_rustc_id() { echo "$(uml_id) $("$REPO/scripts/in-root" "$RUSTC_DIR/rustc" --version)"; }
uml_rustc_ready() { [ "$(cat "$KERNELS/$1/uml-rustc/.complete" 2>/dev/null)" = "$(uml_rustc_id)" ]; }

# What clang is to find of the stock kernel. The configuration is Debian's but for what compilers differ in.
clang_tree_id() { echo "recipe 1 $(kernel_part_id prepared)"; }
clang_tree_ready() { [ "$(cat "$KERNELS/$1/clang/.complete" 2>/dev/null)" = "$(clang_tree_id)" ]; }
prepare_clang() {
	local kver=$1 dir=$KERNELS/$1 obj=$KERNELS/$1/clang headers=$KERNELS/$1/pkg/usr/src/linux-headers-$1 make
	rm -rf "$obj"
	mkdir "$obj"
	cp "$headers/.config" "$obj/"
	readarray -t make < <(clang_make "$kver")
	"$REPO/scripts/in-root" --as-root "${make[@]}" -C "$dir/source" O="$obj" -j"$JOBS" \
		olddefconfig prepare modules_prepare
	diff "$headers/.config" "$obj/.config" || true
	cp "$headers/Module.symvers" "$headers/vmlinux" "$obj/"
	clang_tree_id >"$obj/.complete"
}
# clang_make KVER: as kernel_make. The stock kernel wants to find calls where functions begin, as gcc leaves them:
# objtool must not make no-ops of clang's.
clang_make() { printf '%s\n' make "LLVM=$(llvm_bin)" CONFIG_HAVE_OBJTOOL_NOP_MCOUNT= "KERNELRELEASE=$1"; }

compilers_ready() { lld_ready && rustc_ready && clang_tree_ready "$1" && uml_rustc_ready "$1"; }
fetch_compilers() {
	if ! lld_ready; then fetch_lld; fi
	if ! rustc_ready; then fetch_rustc; fi
}
