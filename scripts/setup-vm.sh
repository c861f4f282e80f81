# shellcheck shell=bash
# Part of `setup`: what the VM needs besides the build root.

# MPIP_KVM=0 says nothing about the machine.
kvm_known() { [ "${MPIP_KVM:-}" = 0 ] || [ -s "$CACHE/accel.$(uname -n)" ]; }
vm_ready() { modules_ready "$1" && kvm_known; }

# /dev/kvm may exist and yet not run such a kernel (nested, or of another kind of CPU): believe it
# only after a boot.
probe_kvm() {
	local answer=tcg
	if [ -w /dev/kvm ] && MPIP_ACCEL=kvm "$REPO/scripts/vm" -t 20 --dmesg "$CACHE/log/kvm-probe.log" true; then
		answer=kvm
	fi
	echo "accelerator: $answer"
	echo $answer >"$CACHE/accel.$(uname -n)"
}

setup_vm() {
	# Not once more under a VM that runs off them.
	if ! modules_ready "$1"; then install_modules "$1"; fi
	if ! kvm_known; then probe_kvm; fi
}
