# shellcheck shell=bash
# Part of `setup`: what the VM needs besides the build root.

vm_ready() {
	[ -e "$ROOT/usr/lib/modules/$1/.mpip-complete" ] && [ -s "$KERNELS/$1/vmlinuz" ] && [ -s "$CACHE/accel.$(uname -n)" ]
}

# /dev/kvm may exist and yet not run such a kernel (nested, or of another kind of CPU): believe it
# only after a boot.
probe_kvm() {
	local answer=tcg
	if [ "${MPIP_KVM:-}" = 0 ]; then return; fi # says nothing about the machine
	if [ -w /dev/kvm ] && MPIP_ACCEL=kvm "$REPO/scripts/vm" -t 20 --dmesg "$CACHE/log/kvm-probe.log" true; then
		answer=kvm
	fi
	echo "accelerator: $answer"
	echo $answer >"$CACHE/accel.$(uname -n)"
}

setup_vm() {
	install_modules "$1"
	probe_kvm
}
