# shellcheck shell=bash
# Part of `setup`: the stock kernel the module is built for. Debian ships no Rust metadata in its
# headers packages, so the metadata is rebuilt from the same source, configuration and compiler.
# There is a kernel for this machine's architecture and, for `setup --arm64`, one for that.

KERNEL_RECIPE=1
# A kernel's architecture is the end of its name.
kernel_arch() { echo "${1##*-}"; }
# Who asks for a kernel by its whole name may mean another flavour than the cloud's, which is the smallest: that of
# the machine at hand, such as 7.3.4+deb13-amd64.
kernel_flavour() {
	if [[ ${MPIP_KERNEL:-} =~ ^[0-9.]+\+deb[^-]*-(([a-z0-9]+-)*)(amd64|arm64)$ ]]; then
		echo "${BASH_REMATCH[1]}$1"
	else
		echo "cloud-$1"
	fi
}

# has ARCH PACKAGE VERSION: is exactly this version available?
has() { grep -qxF "$2 $3" "$CACHE/kernel-packages.$1"; }

# Of all kernels in trixie and trixie-backports, name those for which every part we need exists in
# one and the same version, newest first, as "KVER VERSION IMAGE-PACKAGE".
complete_kernels() {
	local arch=$1 kver version series image
	while read -r kver version; do
		series=$(cut -d. -f1,2 <<<"$kver")
		if ! has "$arch" "linux-modules-$kver" "$version" || ! has "$arch" "linux-source-$series" "$version"; then
			continue
		fi
		for image in linux-binary-$kver linux-binary-unsigned-$kver; do
			if has "$arch" "$image" "$version"; then
				echo "$kver $version $image"
				break
			fi
		done
	done < <(sed -n "s/^linux-headers-\([0-9][^ ]*-$(kernel_flavour "$arch")\) /\1 /p" "$CACHE/kernel-packages.$arch" | sort -rV)
}

# replace FILE TEXT: never leave half a file, not even on a full disk.
replace() {
	echo "$2" >"$1.new"
	mv "$1.new" "$1"
}

# apt ARCH PROGRAM ARG…: apt-get or apt-cache of the build root, as on a machine of that architecture.
apt() {
	local arch=$1 program=$2 options=(-o APT::Sandbox::User=root -o Acquire::Retries=3)
	shift 2
	if [ "$arch" != amd64 ]; then
		# An index of its own: the root knows of no other architecture.
		mkdir -p "$CACHE/apt-$arch/partial"
		options+=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State::Lists=$CACHE/apt-$arch"
			-o Dir::State::status=/dev/null -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
	fi
	"$REPO/scripts/in-root" --as-root --net "$program" -q "${options[@]}" "$@"
}

# download PACKAGE=VERSION…: into the present folder
download() { apt amd64 apt-get download "$@"; }
# The same with a new index: the one at hand may be as old as the build root.
download_fresh() { apt amd64 apt-get update && download "$@"; }

# Decide which kernel MPIP_KERNEL means. Without it: the one behind trixie-backports' metapackage,
# or, while that is incomplete on the mirror or without Rust, the next older complete one with it.
choose_kernel() {
	local arch=$1 request=${MPIP_KERNEL:-} flavour default kver version image headers=$CACHE/headers.new packages
	flavour=$(kernel_flavour "$arch")
	# Who pins a kernel by its whole name means the same one of the other architecture.
	request=${request/%amd64/$arch}
	apt "$arch" apt-get -o APT::Update::Error-Mode=any update
	readarray -t packages < <(apt "$arch" apt-cache pkgnames linux- |
		grep -E "^linux-(headers|modules|binary(-unsigned)?|source)-[0-9]")
	apt "$arch" apt-cache madison "${packages[@]}" |
		awk -F' *[|] *' '{ sub(/^ */, "", $1); print $1, $2 }' | sort -u >"$CACHE/kernel-packages.$arch"
	default=$(apt "$arch" apt-cache depends "linux-image-$flavour/trixie-backports" |
		sed -n "s/.*Depends: linux-image-\([0-9].*-$flavour\)/\1/p") || default=
	echo "metapackage: ${default:-none}; complete:"
	complete_kernels "$arch" | tee "$CACHE/kernels.$arch"
	while read -r kver version image; do
		if [ -n "$request" ]; then
			[[ $kver = "$request" || $kver = "$request".* || $kver = "$request"+* ]] || continue
		elif [ -n "$default" ]; then
			[ "$(printf '%s\n' "$kver" "$default" | sort -V | tail -n 1)" = "$default" ] || continue
		fi
		# The configuration is in the headers, a small package.
		rm -rf "$headers"
		mkdir "$headers"
		(cd "$headers" && apt "$arch" apt-get download "linux-headers-$kver=$version" </dev/null)
		dpkg-deb -x "$headers"/*.deb "$headers"
		if ! grep -qx CONFIG_RUST=y "$headers/usr/src/linux-headers-$kver/.config"; then
			echo "$kver is built without Rust"
			continue
		fi
		rm -rf "$headers"
		replace "$KERNELS/packages.$kver" "$version $image"
		replace "$(kernel_choice_file "$arch")" "$kver"
		# A newer one here, and there may be a newer one there.
		if [ "$arch" = amd64 ]; then rm -f "$(kernel_choice_file arm64)"; fi
		return
	done <"$CACHE/kernels.$arch"
	echo "no complete kernel${request:+ $request} for $arch with Rust among the packages of trixie and trixie-backports"
	return 1
}

# The prepared tree is bound to the tools that made it, the rest only to how it is made.
kernel_part_id() { echo "recipe $KERNEL_RECIPE $(if [ "$1" = prepared ]; then cat "$ROOT/.mpip-tools"; fi)"; }
kernel_part_ready() { [ "$(cat "$KERNELS/$1/.$2" 2>/dev/null)" = "$(kernel_part_id "$2")" ]; }
kernel_part_done() { kernel_part_id "$2" >"$KERNELS/$1/.$2"; }

kernel_chosen() {
	local file
	file=$(kernel_choice_file "$1")
	[ -s "$file" ] && [ -s "$KERNELS/packages.$(cat "$file")" ]
}

# The unpacked source of the same version for another architecture, if there is one: it is the same.
twin_source() {
	local kver=$1 version other
	read -r version _ <"$KERNELS/packages.$kver"
	for other in "$KERNELS"/packages.*; do
		other=${other#*/packages.}
		if [ "$other" != "$kver" ] && grep -q "^$version " "$KERNELS/packages.$other" &&
			kernel_part_ready "$other" unpacked; then
			echo "$KERNELS/$other/source"
			return
		fi
	done
}

# Headers, modules, image and source of one version, unpacked side by side. The packages
# themselves are not kept.
fetch_kernel() {
	local kver=$1 arch version image new=$KERNELS/$1.new packages name deb
	arch=$(kernel_arch "$kver")
	read -r version image <"$KERNELS/packages.$kver"
	packages=("linux-headers-$kver" "linux-modules-$kver" "$image" "linux-base-$kver")
	if [ -z "$(twin_source "$kver")" ]; then packages+=("linux-source-$(cut -d. -f1,2 <<<"$kver")"); fi
	rm -rf "$new"
	mkdir -p "$new/debs" "$new/pkg"
	for name in "${packages[@]}"; do
		# linux-base-KVER exists since 7.2 only; System.map and config are all it has.
		if [[ $name = linux-base-* ]] && ! apt "$arch" apt-cache show "$name" >/dev/null 2>&1; then continue; fi
		(cd "$new/debs" && apt "$arch" apt-get download "$name=$version") || {
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

unpack_source() {
	local dir=$KERNELS/$1 tarball twin
	twin=$(twin_source "$1")
	if [ -n "$twin" ]; then
		# Hard links: nobody writes into the source.
		rm -rf "$dir/.unpacked" "$dir/source"{,.new}
		cp -al "$twin" "$dir/source.new"
		mv "$dir/source.new" "$dir/source"
		kernel_part_done "$1" unpacked
		return
	fi
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
	local config=$1 compiler=$2 want have
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
	done <<-EOF
		CONFIG_RUSTC_VERSION_TEXT rustc --version
		CONFIG_BINDGEN_VERSION_TEXT bindgen --version workaround-for-0.69.0
		CONFIG_CC_VERSION_TEXT $compiler --version
	EOF
}

# kernel_make KVER: the make that suits this kernel, a word a line. The compiler is spelt as Debian has spelt it:
# kbuild compares that with what it finds in the configuration.
kernel_make() {
	case $(kernel_arch "$1") in
	amd64) printf '%s\n' make CC=x86_64-linux-gnu-gcc-14 ;;
	# What is asked for by the configuration and made for 32-bit programs has no use here, and no compiler: the
	# name of one is enough, and make does not see the option. There are no shared libraries to link with.
	arm64) printf '%s\n' env "LD_LIBRARY_PATH=$CROSS/usr/lib/x86_64-linux-gnu" make ARCH=arm64 \
		"CROSS_COMPILE=$CROSS/usr/bin/aarch64-linux-gnu-" "CC=$CROSS/usr/bin/aarch64-linux-gnu-gcc-14" \
		CROSS_COMPILE_COMPAT=arm-linux-gnueabihf- CONFIG_COMPAT_VDSO= USERLDFLAGS=-static ;;
	esac
	printf '%s\n' HOSTCC=gcc-14 "KERNELRELEASE=$1"
}

prepare_kernel() {
	local kver=$1 dir=$KERNELS/$1 headers obj=$KERNELS/$1/obj make compiler=x86_64-linux-gnu-gcc-14
	headers=$dir/pkg/usr/src/linux-headers-$kver
	if [ "$(kernel_arch "$kver")" = arm64 ]; then compiler=$CROSS/aarch64-linux-gnu-gcc; fi
	check_tools "$headers/.config" "$compiler"
	# Paths are recorded in what is built here: build at the final place, mark it complete at the end.
	rm -rf "$dir/.prepared" "$obj"
	mkdir "$obj"
	cp "$headers/.config" "$obj/"
	readarray -t make < <(kernel_make "$kver")
	"$REPO/scripts/in-root" --as-root "${make[@]}" -C "$dir/source" O="$obj" -j"$JOBS" \
		olddefconfig prepare modules_prepare
	cmp "$headers/.config" "$obj/.config" || {
		echo "the prepared configuration differs from the packaged one; the module would not fit"
		return 1
	}
	cp "$headers/Module.symvers" "$headers/vmlinux" "$obj/"
	kernel_part_done "$kver" prepared
}

# The VM's root file system, that of the emulator for arm64, needs the kernel's modules under their usual name.
modules_root() {
	case $(kernel_arch "$1") in
	amd64) echo "$ROOT" ;;
	arm64) echo "$ARM64_ROOT" ;;
	esac
}
modules_ready() { [ -e "$(modules_root "$1")/usr/lib/modules/$1/.mpip-complete" ] && [ -s "$KERNELS/$1/vmlinuz" ]; }
install_modules() {
	local kver=$1 dir=$KERNELS/$1 base modules
	base=$(modules_root "$kver")
	modules=$base/usr/lib/modules
	rm -rf "${modules:?}/$kver"{,.new}
	mkdir -p "$modules"
	cp -a "$dir/pkg/usr/lib/modules/$kver" "$modules/$kver.new"
	mv "$modules/$kver.new" "$modules/$kver"
	if [ "$base" = "$ROOT" ]; then base=/; fi
	"$REPO/scripts/in-root" --as-root depmod -b "$base" "$kver"
	cp "$(find "$dir/pkg" -name "vmlinuz*" -type f -print -quit)" "$dir/vmlinuz"
	touch "$modules/$kver/.mpip-complete"
}
