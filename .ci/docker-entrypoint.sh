#!/usr/bin/env bash
# Entry point of the test images that .ci/images makes. Users run the official `postgres` image; this one answers to the
# same variables in the same way, as far as a driver of containers can tell:
#
#   arguments          `-c x=y` is given to postgres; any other command is run as it stands
#   started as root    makes PGDATA, gives it to the user postgres and goes on as that user
#   any other user     PGDATA must be that user's; a database that is there is used
#   PGDATA is empty    initdb, by POSTGRES_USER, POSTGRES_PASSWORD (or …_FILE), POSTGRES_DB, POSTGRES_INITDB_ARGS,
#                      POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD; then what lies in /docker-entrypoint-initdb.d
set -Eeuo pipefail

fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# Whether the arguments after `postgres` only ask for something to be printed.
only_asks() {
    local argument
    for argument; do
        case "$argument" in
            -\? | --help | -V | --version | --describe-config) return 0 ;;
        esac
    done
    return 1
}

# Lets NAME also come from the file that NAME_FILE names.
from_file() {
    local name=$1 file=$1_FILE
    [ -n "${!file:-}" ] || return 0
    [ -z "${!name:-}" ] || fail "both $name and $file are set"
    export "$name=$(<"${!file}")"
    unset "$file"
}

make_directories() {
    mkdir -p "$PGDATA" /var/run/postgresql
    # Somebody else's bind mount may refuse; postgres itself says so when it matters.
    chmod 0700 "$PGDATA" 2>/dev/null || :
    chmod 3775 /var/run/postgresql 2>/dev/null || :
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || { mkdir -p "$POSTGRES_INITDB_WALDIR" && chmod 0700 "$POSTGRES_INITDB_WALDIR"; }
    [ "$(id -u)" = 0 ] || return 0
    find "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} \
        \! -user postgres -exec chown postgres '{}' +
}

check_variables() {
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        fail "the database is not initialized and no password is given for its superuser" \
            "set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in"
    fi
    # From 18 on the volume is a level higher, and a mount at the old place would be passed over in silence.
    if [ "$PG_MAJOR" -ge 18 ] && [ "$PGDATA" != /var/lib/postgresql/data ] && mountpoint -q /var/lib/postgresql/data; then
        fail "something is mounted at /var/lib/postgresql/data, but the database of version $PG_MAJOR lies in $PGDATA" \
            "mount it at /var/lib/postgresql"
    fi
}

make_database() {
    local wrapper secret password=() waldir=()
    if ! getent passwd "$(id -u)" >/dev/null; then
        # initdb wants its user to have a name.
        wrapper=$(find /usr/lib -name libnss_wrapper.so -print -quit)
        NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
        export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
        echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
        echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
    fi
    secret=$(mktemp)
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        printf '%s\n' "$POSTGRES_PASSWORD" >"$secret"
        password=(--pwfile="$secret")
    fi
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || waldir=(--waldir "$POSTGRES_INITDB_WALDIR")
    # Several arguments in one variable are the image's convention.
    # shellcheck disable=SC2086
    initdb --username="$POSTGRES_USER" "${password[@]}" "${waldir[@]}" ${POSTGRES_INITDB_ARGS:-}
    rm -f "$secret"
    if [ -n "${wrapper:-}" ]; then
        rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
        unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    fi
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"
}

# psql on the socket of the temporary server.
sql() {
    psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" --dbname "$1" "${@:2}"
}

run_files() {
    local file
    # shellcheck disable=SC1090 # whatever the user put there
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            # What is executable runs by itself, the rest runs here and may set variables.
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) sql "$POSTGRES_DB" -f "$file" ;;
            *.sql.gz) gunzip -c "$file" | sql "$POSTGRES_DB" ;;
            *) echo "ignoring $file" ;;
        esac
    done
}

# What has to be done by a running server is done by one that only its own socket reaches.
fill_database() {
    [ "${1:-}" != postgres ] || shift
    export PGPASSWORD=${PGPASSWORD:-${POSTGRES_PASSWORD:-}}
    local options
    printf -v options '%q ' "$@" -c "listen_addresses=" -p "${PGPORT:-5432}"
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$options" -w start
    [ "$POSTGRES_DB" = postgres ] || printf 'CREATE DATABASE :"name";\n' | sql postgres -v name="$POSTGRES_DB"
    run_files
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
}

main() {
    case "${1:-}" in -*) set -- postgres "$@" ;; esac
    if [ "${1:-}" != postgres ] || only_asks "${@:2}"; then
        exec "$@"
    fi
    make_directories
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid postgres --regid postgres --init-groups "${BASH_SOURCE[0]}" "$@"
    fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        local name
        for name in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_INITDB_ARGS; do from_file "$name"; done
        export POSTGRES_USER=${POSTGRES_USER:-postgres}
        export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
        check_variables
        make_database
        fill_database "$@"
        echo "PostgreSQL init process complete; ready for start up."
    fi
    exec "$@"
}

main "$@"
