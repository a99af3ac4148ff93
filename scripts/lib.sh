# What the scripts share: where things are, words on the terminal, ports and waiting. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2034  # Most of these variables are used by the script that sources this file.

unset CDPATH # With it `cd` prints where it went.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin # Debian keeps nginx where a normal user's PATH does not look.

SERVICES=(mock-provider stock payment order)
EX_USAGE=64

say() { printf '%s\n' "$*"; }
# The same for a person, where nothing must end because it cannot be said, as on a full disk.
tell() { say "$@" 2>/dev/null || true; }
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
usage_error() {
    printf '%s: %s (--help says more)\n' "${0##*/}" "$*" >&2
    exit "$EX_USAGE"
}

# The comment at the top of a script is its help.
print_help() { sed -n '2,/^[^#]/ { s/^# \{0,1\}//p; }' "$0"; }

require_port() { # NAME
    local value=${!1}
    if ! [[ $value =~ ^[1-9][0-9]{0,4}$ ]] || ((value > 65535)); then usage_error "$1 is not a port: '$value'"; fi
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Sets DATA_DIR to an absolute path. The default lies in the project; a relative one is relative to the caller.
resolve_data_dir() {
    DATA_DIR=${DATA_DIR:-$ROOT/var}
    [[ $DATA_DIR == /* ]] || DATA_DIR=$PWD/$DATA_DIR
}

# The supervisor holds this lock while it lives, however it dies, so that a stale up.pid is never mistaken for it.
lock_is_held() { [ -e "$DATA_DIR/run/up.lock" ] && ! flock --nonblock "$DATA_DIR/run/up.lock" true; }

# Waits until a command succeeds, looking ten times a second; 1 when the seconds are over.
wait_until() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

answers_200() { # URL
    [[ $(curl --silent --output /dev/null --max-time 2 --write-out '%{http_code}' "$1") == 200 ]]
}

# ---------------------------------------------------------------- system packages

missing_packages=()
need_command() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || missing_packages+=("$2")
}
need_header() { # FILE PACKAGE
    compgen -G "/usr/include/$1" >/dev/null || compgen -G "/usr/include/*/$1" >/dev/null || missing_packages+=("$2")
}
need_to_build() {
    command -v swift >/dev/null || fail "swift is not installed or not in PATH; see https://www.swift.org/install"
    need_header curl/curl.h libcurl4-openssl-dev
    need_header sqlite3.h libsqlite3-dev
}

# Installs what the functions above have found missing, or says the one command that does.
install_missing_packages() {
    ((${#missing_packages[@]})) || return 0
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        fail "these packages are missing; install them with: sudo apt-get install -y ${missing_packages[*]}"
    fi
    say "Installing ${missing_packages[*]}"
    apt-get update -qq
    # RUNLEVEL=1 keeps Debian from starting the packaged nginx, on port 80, as part of its installation.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
}

# ---------------------------------------------------------------- the executable

# Swift's libraries in the executable, as in the image: nothing else has to be installed, and the way from a service into them is
# shorter (docs/measurements.md).
RELEASE=(-c release --static-swift-stdlib --scratch-path "$ROOT/.build-release")

# Sets CHECKOUT_BIN to the executable to run: the one that is given, else one built here as BUILD (release or debug) says.
build_checkout() {
    if [[ -n ${CHECKOUT_BIN:-} ]]; then
        [[ -x $CHECKOUT_BIN && ! -d $CHECKOUT_BIN ]] || fail "CHECKOUT_BIN is not an executable: $CHECKOUT_BIN"
        CHECKOUT_BIN=$(realpath "$CHECKOUT_BIN")
        return
    fi
    local options=(--package-path "$ROOT" --product checkout --scratch-path "$ROOT/.build")
    [[ $BUILD == debug ]] || options=("${RELEASE[@]}" --package-path "$ROOT" --product checkout)
    say "Building ($BUILD); the first time takes some minutes"
    swift build "${options[@]}"
    CHECKOUT_BIN=$(swift build "${options[@]}" --show-bin-path)/checkout
}
