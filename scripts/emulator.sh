# shellcheck shell=bash disable=SC2034 # the variables are for those who source this
# Shared by what boots virtual machines. qemu and virtiofsd come from the build root, run by its own
# dynamic loader: the same versions on every host, and nothing to install there.

from_root=("$ROOT/lib64/ld-linux-x86-64.so.2" --library-path "$ROOT/usr/lib/x86_64-linux-gnu")

# share_folder TAG FOLDER SOCKET LOG [OPTION…]: serves a folder in the background, and adds it to `devices`.
share_folder() {
	local tag=$1 dir=$2 socket=$3 log=$4
	shift 4
	"${from_root[@]}" "$ROOT/usr/libexec/virtiofsd" --socket-path "$socket" --shared-dir "$dir" \
		--sandbox chroot --log-level error "$@" >>"$log" 2>&1 </dev/null &
	pids+=($!)
	devices+=(-chardev "socket,id=$tag,path=$socket"
		-device "vhost-user-fs-pci,chardev=$tag,tag=$tag,queue-size=512")
}

# accelerator [ARM64]: how to run a guest here, in `accel`.
accelerator() {
	# To copy and to clear memory by strings of bytes, which real processors are quick at, is emulated byte by byte.
	local how=tcg cpu=max,erms=off,fsrm=off,fsrs=off
	if [ "${MPIP_KVM:-}" != 0 ] && [ -z "${1:-}" ]; then
		how=${MPIP_ACCEL:-$(cat "$CACHE/accel.$(uname -n)" 2>/dev/null || echo tcg)}
	fi
	if [ -n "${MPIP_VM_ICOUNT:-}" ]; then how=icount; fi
	# Signatures of return addresses by a cipher that an emulator is quick at; vectors would only cost time.
	if [ -n "${1:-}" ]; then cpu=max,pauth-impdef=on,sve=off,sme=off; fi
	case $how in
	icount) accel=(-accel "tcg,thread=single" -cpu "$cpu" -icount "shift=0,sleep=off") ;;
	kvm) accel=(-accel kvm -cpu host) ;;
	*) accel=(-accel "tcg,thread=multi" -cpu "$cpu") ;;
	esac
}

# Whether the timer works is nothing to be found out on a busy machine by waiting for it.
PC_BOOT="console=ttyS0 tsc=reliable mitigations=off no_timer_check net.ifnames=0 audit=0 oops=panic panic=-1"
PC=("$ROOT/usr/bin/qemu-system-x86_64" -L "$ROOT/usr/share/seabios" -machine "q35,memory-backend=mem")

# memory_root KERNEL: the build root as an initramfs, in `initrd`. Where the clock counts instructions it jumps
# to the next timer while nothing runs: to wait for a file for 0.3 s, as happens on a busy machine, would take
# more than 10 s. There, all that a VM reads has to be in memory. What is only built with is left out.
memory_root() {
	local modules=usr/lib/modules/$1 name unused=() old lock
	for name in usr/src usr/include usr/libexec usr/share/qemu usr/share/doc usr/share/locale var/lib/dpkg var/cache \
		"$modules/kernel/drivers/[!n]*" "$modules/kernel/fs" "$modules/kernel/sound" "$modules/build" "$modules/source"; do
		unused+=(-o -path "./$name")
	done
	for name in 'llvm-*' rustlib gcc '*-linux-gnu-[!s]*' 'qemu-*' 'cargo*' 'rust*' '*.a' '*.o' 'lib*san.so*'; do
		unused+=(-o -name "$name")
	done
	initrd=$CACHE/memory.$1.$({
		printf '%s\0' "${unused[@]}"
		stat -c %Y "$ROOT/.mpip-recipe" "$ROOT/$modules"
	} | sha256sum | cut -c1-16)
	# Two VMs may begin at once.
	exec {lock}>"$CACHE/memory.lock"
	flock "$lock"
	if [ -s "$initrd" ]; then
		exec {lock}>&-
		return
	fi
	readarray -t old < <(compgen -G "$CACHE/memory.$1.*" || true)
	(
		cd "$ROOT" || exit
		find . -xdev \( -path './usr/lib/modules/*' ! -path "./$modules*" -o -size +8M "${unused[@]}" \) -prune -o -print0 |
			"${from_root[@]}" usr/bin/cpio --quiet --null --create --format=newc
	) >"$CACHE/memory.new"
	if [ ${#old[@]} -gt 0 ]; then rm -f "${old[@]}"; fi
	mv "$CACHE/memory.new" "$initrd"
	own "$initrd" "$CACHE/memory.lock"
	exec {lock}>&-
}
