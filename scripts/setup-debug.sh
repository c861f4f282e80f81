# shellcheck shell=bash
# Part of `setup --debug`: a User-Mode Linux that watches itself, for `make test-debug`. KASAN sees into
# Rust only in a kernel that clang has built, and clang has to be as old as rustc's LLVM.

DEBUG_RECIPE=1
CLANG_DIR=$CACHE/clang

debug_config() { grep -v '^#' "$REPO/scripts/uml.config" | cat - "$REPO/scripts/debug.config"; }
debug_id() { echo "recipe $DEBUG_RECIPE $( (cat "$ROOT/.mpip-tools" && debug_config) | sha256sum | cut -d' ' -f1)"; }
debug_ready() { clang_ready && [ "$(cat "$KERNELS/$1/debug/.complete" 2>/dev/null)" = "$(debug_id)" ]; }
clang_ready() { [ "$(cat "$CLANG_DIR/.complete" 2>/dev/null)" = "$(cat "$ROOT/.mpip-tools")" ]; }
# The compiler, under the same name inside the build root.
clang() { echo "$CLANG_DIR"/usr/lib/llvm-*/bin/clang; }

# Three packages besides what the build root has of LLVM.
fetch_clang() {
	local new=$CLANG_DIR.new major version deb packages=()
	major=$("$REPO/scripts/in-root" rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
	# shellcheck disable=SC2016 # dpkg-query expands it
	version=$("$REPO/scripts/in-root" dpkg-query -W -f '${Version}' "libllvm$major")
	for name in "clang-$major" "libclang-cpp$major" "libclang-common-$major-dev"; do packages+=("$name=$version"); done
	rm -rf "$new" "$CLANG_DIR"
	mkdir -p "$new/debs"
	(cd "$new/debs" && download_fresh "${packages[@]}")
	for deb in "$new"/debs/*.deb; do dpkg-deb -x "$deb" "$new"; done
	rm -r "$new/debs"
	mv "$new" "$CLANG_DIR"
	"$REPO/scripts/in-root" "$(clang)" --version
	cp "$ROOT/.mpip-tools" "$CLANG_DIR/.complete"
}

# What clang calls large data would lie where the kernel does not look for data of its own. A few files
# are not of the kind that this is for.
DEBUG_CFLAGS='-mlarge-data-threshold=2147483647 -Wno-unused-command-line-argument'

build_debug() {
	local obj=$KERNELS/$1/debug make missing
	if ! clang_ready; then fetch_clang; fi
	make=("$REPO/scripts/in-root" --as-root nice make -C "$KERNELS/$1/source" O="$obj" ARCH=um
		CC="$(clang)" HOSTCC=gcc-14 "KCFLAGS=$DEBUG_CFLAGS" -j"$JOBS")
	mkdir -p "$obj"
	rm -f "$obj/.complete"
	debug_config >"$obj/.config"
	"${make[@]}" olddefconfig
	missing=$(debug_config | grep -E '^(CONFIG_|# CONFIG_.* is not set)' | grep -vxFf "$obj/.config") || true
	if [ -n "$missing" ]; then
		echo "not possible in this kernel's configuration: $missing"
		return 1
	fi
	"${make[@]}"
	debug_id >"$obj/.complete"
}
