# Shared by tests/run and tests/perf/run: installing Debian packages without starting what they bring. Source it.

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Debian's packages start their services when installed, unless this script says no. Ours is there for the installation
# only; what was there before comes back, however the installation ends.
POLICY=/usr/sbin/policy-rc.d
deny_services() {
  # One of ours that a killed run left behind is not worth keeping.
  if [ -e "$POLICY" ] && ! grep -q 'for mexegate' "$POLICY"; then as_root mv "$POLICY" "$POLICY.before-mexegate"; fi
  printf '#!/bin/sh\n# for mexegate: no service starts while its tests install packages\nexit 101\n' | as_root tee "$POLICY" >/dev/null
  as_root chmod 755 "$POLICY"
}
allow_services() {
  as_root rm -f "$POLICY"
  if [ -e "$POLICY.before-mexegate" ]; then as_root mv "$POLICY.before-mexegate" "$POLICY"; fi
}

# need_packages PACKAGE:COMMAND... installs the packages whose command (or file, by its whole path) is missing.
need_packages() {
  local pair missing=()
  for pair in "$@"; do
    [[ ${pair#*:} = /* && -e ${pair#*:} ]] || PATH="$PATH:/usr/sbin:/sbin" command -v "${pair#*:}" >/dev/null || missing+=("${pair%%:*}")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}; install them by hand, this is not a Debian system"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "missing: ${missing[*]}; run as root, or install sudo"
  say "installing ${missing[*]}"
  (
    trap allow_services EXIT
    trap 'exit 130' INT TERM
    deny_services
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update \
      || echo "apt-get update failed: trying with the lists at hand" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
  ) || fail "could not install ${missing[*]}: is the network there? install them by hand and run this again"
}
