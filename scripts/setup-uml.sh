# shellcheck shell=bash
# Part of `setup --uml`: User-Mode Linux, the kernel's own port to ordinary processes. Kernel code
# runs at the machine's own speed in it, so it shows what packets cost. It is built from the same
# source and with the same compiler as the stock kernel, once.

UML_RECIPE=1

uml_id() { echo "recipe $UML_RECIPE $(cat "$ROOT/.mpip-tools" "$REPO/scripts/uml.config" | sha256sum | cut -d' ' -f1)"; }
uml_ready() { [ "$(cat "$KERNELS/$1/uml/.complete" 2>/dev/null)" = "$(uml_id)" ]; }

# build_uml KVER [RUSTC FOLDER]: by that compiler, there
build_uml() {
	local dir=$KERNELS/$1 rustc=${2:-rustc} obj=$KERNELS/$1/${3:-uml} make missing
	make=("$REPO/scripts/in-root" --as-root nice make -C "$dir/source" O="$obj" ARCH=um
		CC=gcc-14 HOSTCC=gcc-14 RUSTC="$rustc" -j"$JOBS")
	mkdir -p "$obj"
	rm -f "$obj/.complete"
	cp "$REPO/scripts/uml.config" "$obj/.config"
	"${make[@]}" olddefconfig
	missing=$(grep '^CONFIG_' "$REPO/scripts/uml.config" | grep -vxFf "$obj/.config") || true
	if [ -n "$missing" ]; then
		echo "not possible in this kernel's configuration: $missing"
		return 1
	fi
	"${make[@]}"
	if [ "$rustc" = rustc ]; then uml_id; else uml_rustc_id; fi >"$obj/.complete"
}
