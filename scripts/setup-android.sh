# shellcheck shell=bash
# Part of `setup --android`: what it takes, besides what runs it, to build a kernel for arm64 as Android does, with
# clang and lld.

# Packages and folders of LLVM have the number of rustc's in their names
llvm_major() { "$REPO/scripts/in-root" rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }
# The folder with clang, under the same name inside the build root; kbuild wants the slash.
llvm_bin() { echo "$CLANG_DIR"/usr/lib/llvm-*/bin/; }

# clang is shared with `setup --debug`: fetched anew, it has lost what was put beside it.
lld_ready() { clang_ready && [ -e "$CLANG_DIR/.lld" ]; }
android_ready() { lld_ready && cross_ready && userland_ready; }

fetch_lld() {
	local new=$CLANG_DIR/lld.new major version deb
	if ! clang_ready; then fetch_clang; fi
	major=$(llvm_major)
	# shellcheck disable=SC2016 # dpkg-query expands it
	version=$("$REPO/scripts/in-root" dpkg-query -W -f '${Version}' "libllvm$major")
	rm -rf "$new"
	mkdir "$new"
	(cd "$new" && download_fresh "lld-$major=$version" "llvm-$major=$version")
	for deb in "$new"/*.deb; do dpkg-deb -x "$deb" "$CLANG_DIR"; done
	rm -r "$new"
	"$REPO/scripts/in-root" "$(llvm_bin)ld.lld" --version
	touch "$CLANG_DIR/.lld"
}

fetch_android() {
	if ! lld_ready; then fetch_lld; fi
	if ! cross_ready; then fetch_cross; fi
	if ! userland_ready; then fetch_userland; fi
}
