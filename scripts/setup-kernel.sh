# shellcheck shell=bash
# Part of `setup`: the stock kernel the module is built for. Debian ships no Rust metadata in its
# headers packages, so the metadata is rebuilt from the same source, configuration and compiler.

KERNEL_RECIPE=1
FLAVOUR=cloud-amd64

# has PACKAGE VERSION: is exactly this version available?
has() { grep -qxF "$1 $2" "$CACHE/kernel-packages"; }

# Of all kernels in trixie and trixie-backports, name those for which every part we need exists in
# one and the same version, newest first, as "KVER VERSION IMAGE-PACKAGE".
complete_kernels() {
	local kver version series image
	while read -r kver version; do
		series=$(cut -d. -f1,2 <<<"$kver")
		if ! has "linux-modules-$kver" "$version" || ! has "linux-source-$series" "$version"; then continue; fi
		for image in linux-binary-$kver linux-binary-unsigned-$kver; do
			if has "$image" "$version"; then
				echo "$kver $version $image"
				break
			fi
		done
	done < <(sed -n "s/^linux-headers-\([0-9][^ ]*-$FLAVOUR\) /\1 /p" "$CACHE/kernel-packages" | sort -rV)
}

# replace FILE TEXT: never leave half a file, not even on a full disk.
replace() {
	echo "$2" >"$1.new"
	mv "$1.new" "$1"
}

# download PACKAGE=VERSION…: into the present folder
download() {
	"$REPO/scripts/in-root" --as-root --net apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$@"
}

# Decide which kernel MPIP_KERNEL means. Without it: the one behind trixie-backports' metapackage,
# or, while that is incomplete on the mirror or without Rust, the next older complete one with it.
choose_kernel() {
	local request=${MPIP_KERNEL:-} default kver version image headers=$CACHE/headers.new
	"$REPO/scripts/in-root" --as-root --net apt-get -q -o APT::Sandbox::User=root \
		-o APT::Update::Error-Mode=any update
	# shellcheck disable=SC2016 # expanded inside
	"$REPO/scripts/in-root" --as-root sh -c \
		'apt-cache madison $(apt-cache pkgnames linux- | grep -E "^linux-(headers|modules|binary(-unsigned)?|source)-[0-9]")' |
		awk -F' *[|] *' '{ sub(/^ */, "", $1); print $1, $2 }' | sort -u >"$CACHE/kernel-packages"
	default=$("$REPO/scripts/in-root" --as-root apt-cache depends "linux-image-$FLAVOUR/trixie-backports" |
		sed -n "s/.*Depends: linux-image-\([0-9].*-$FLAVOUR\)/\1/p") || default=
	echo "metapackage: ${default:-none}; complete:"
	complete_kernels | tee "$CACHE/kernels"
	while read -r kver version image; do
		if [ -n "$request" ]; then
			[[ $kver = "$request" || $kver = "$request".* || $kver = "$request"+* ]] || continue
		elif [ -n "$default" ]; then
			[ "$(printf '%s\n' "$kver" "$default" | sort -V | tail -n 1)" = "$default" ] || continue
		fi
		# The configuration is in the headers, a small package.
		rm -rf "$headers"
		mkdir "$headers"
		(cd "$headers" && download "linux-headers-$kver=$version" </dev/null)
		dpkg-deb -x "$headers"/*.deb "$headers"
		if ! grep -qx CONFIG_RUST=y "$headers/usr/src/linux-headers-$kver/.config"; then
			echo "$kver is built without Rust"
			continue
		fi
		rm -rf "$headers"
		replace "$KERNELS/packages.$kver" "$version $image"
		replace "$(kernel_choice_file)" "$kver"
		return
	done <"$CACHE/kernels"
	echo "no complete kernel${request:+ $request} with Rust among the packages of trixie and trixie-backports"
	return 1
}

# The prepared tree is bound to the tools that made it, the rest only to how it is made.
kernel_part_id() { echo "recipe $KERNEL_RECIPE $(if [ "$1" = prepared ]; then cat "$ROOT/.mpip-tools"; fi)"; }
kernel_part_ready() { [ "$(cat "$KERNELS/$1/.$2" 2>/dev/null)" = "$(kernel_part_id "$2")" ]; }
kernel_part_done() { kernel_part_id "$2" >"$KERNELS/$1/.$2"; }

kernel_chosen() {
	local file
	file=$(kernel_choice_file)
	[ -s "$file" ] && [ -s "$KERNELS/packages.$(cat "$file")" ]
}

# Headers, modules, image and source of one version, unpacked side by side. The packages
# themselves are not kept.
fetch_kernel() {
	local kver=$1 version image new=$KERNELS/$1.new packages name deb
	read -r version image <"$KERNELS/packages.$kver"
	packages=("linux-headers-$kver" "linux-modules-$kver" "$image" "linux-base-$kver"
		"linux-source-$(cut -d. -f1,2 <<<"$kver")")
	rm -rf "$new"
	mkdir -p "$new/debs" "$new/pkg"
	for name in "${packages[@]}"; do
		# linux-base-KVER exists since 7.2 only; System.map and config are all it has.
		if [[ $name = linux-base-* ]] && ! has_any "$name"; then continue; fi
		(cd "$new/debs" && download "$name=$version") || {
			echo "download of $name $version failed: run again (make update-kernel looks for a newer one)"
			return 1
		}
	done
	for deb in "$new"/debs/*.deb; do
		dpkg-deb -x "$deb" "$new/pkg"
	done
	rm -rf "$new/debs" "${KERNELS:?}/$kver"
	mv "$new" "$KERNELS/$kver"
	kernel_part_done "$kver" fetched
}
has_any() { "$REPO/scripts/in-root" --as-root apt-cache show "$1" >/dev/null 2>&1; }

unpack_source() {
	local dir=$KERNELS/$1 tarball
	compgen -G "$dir/pkg/usr/src/linux-source-*.tar.xz" || fetch_kernel "$1"
	tarball=$(echo "$dir"/pkg/usr/src/linux-source-*.tar.xz)
	rm -rf "$dir/.unpacked" "$dir/source" "$dir/source.new"
	mkdir "$dir/source.new"
	tar -C "$dir/source.new" --strip-components=1 -xf "$tarball"
	mv "$dir/source.new" "$dir/source"
	kernel_part_done "$1" unpacked
	rm "$tarball" # only now: a step that is not marked is done again
}

# A Rust module is only loadable if it was built by the compiler that built the kernel: say so
# plainly instead of failing later with an obscure message.
check_tools() {
	local config=$1 want have
	grep -qx CONFIG_RUST=y "$config" || {
		echo "this kernel is built without CONFIG_RUST: choose another with MPIP_KERNEL"
		return 1
	}
	while read -r want have; do
		want=$(sed -n "s/^$want=\"\(.*\)\"/\1/p" "$config")
		have=$("$REPO/scripts/in-root" --as-root sh -c "$have" | sed -n 1p)
		[ "$want" = "$have" ] || {
			echo "the kernel was built with \"$want\" but the build root has \"$have\":"
			echo "run 'make distclean-cache' to get the current tools, or choose another kernel with MPIP_KERNEL"
			return 1
		}
	done <<-'EOF'
		CONFIG_RUSTC_VERSION_TEXT rustc --version
		CONFIG_BINDGEN_VERSION_TEXT bindgen --version workaround-for-0.69.0
		CONFIG_CC_VERSION_TEXT x86_64-linux-gnu-gcc-14 --version
	EOF
}

prepare_kernel() {
	local kver=$1 dir=$KERNELS/$1 headers obj=$KERNELS/$1/obj
	headers=$dir/pkg/usr/src/linux-headers-$kver
	check_tools "$headers/.config"
	# Paths are recorded in what is built here: build at the final place, mark it complete at the end.
	rm -rf "$dir/.prepared" "$obj"
	mkdir "$obj"
	cp "$headers/.config" "$obj/"
	"$REPO/scripts/in-root" --as-root make -C "$dir/source" O="$obj" -j"$JOBS" \
		CC=x86_64-linux-gnu-gcc-14 HOSTCC=gcc-14 KERNELRELEASE="$kver" \
		olddefconfig prepare modules_prepare
	cmp "$headers/.config" "$obj/.config" || {
		echo "the prepared configuration differs from the packaged one; the module would not fit"
		return 1
	}
	cp "$headers/Module.symvers" "$headers/vmlinux" "$obj/"
	kernel_part_done "$kver" prepared
}

# The VM's root file system needs the kernel's modules under their usual name.
install_modules() {
	local kver=$1 dir=$KERNELS/$1 new=$ROOT/usr/lib/modules/$1.new
	rm -rf "$new" "$ROOT/usr/lib/modules/$kver"
	mkdir -p "$(dirname "$new")"
	cp -a "$dir/pkg/usr/lib/modules/$kver" "$new"
	mv "$new" "$ROOT/usr/lib/modules/$kver"
	"$REPO/scripts/in-root" --as-root depmod "$kver"
	cp "$(find "$dir/pkg" -name "vmlinuz*" -type f -print -quit)" "$dir/vmlinuz"
	touch "$ROOT/usr/lib/modules/$kver/.mpip-complete"
}
