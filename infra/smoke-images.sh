#!/usr/bin/env bash
# Starts each of the three images and asks for a sign of life, so that an image that can't start is never deployed.
#
#   infra/smoke-images.sh CONTROLLER_IMAGE GATEWAY_IMAGE RUNNER_IMAGE
#
# Needs Docker; in Cloud Build containers are put on the build's own network (SMOKE_NETWORK=cloudbuild). Leaves nothing
# running. Exit code 1 and the container's log when one does not answer within a minute.
set -euo pipefail

if [ $# -ne 3 ]; then
  echo 'usage: infra/smoke-images.sh CONTROLLER_IMAGE GATEWAY_IMAGE RUNNER_IMAGE' >&2
  exit 2
fi
controller=$1 gateway=$2 runner=$3
postgres=${SMOKE_POSTGRES_IMAGE:-postgres:17.6-bookworm}
run=smoke-$$
network=${SMOKE_NETWORK:-$run}
files=$(mktemp -d)

finish() {
  docker rm --force --volumes "$run-controller" "$run-gateway" "$run-database" >/dev/null 2>&1 || true
  [ "$network" != "$run" ] || docker network rm "$run" >/dev/null 2>&1 || true
  rm -rf "$files"
}
trap finish EXIT

# up NAME SECONDS COMMAND…: waits until the command in the container NAME succeeds.
up() {
  local name=$1 limit=$2
  shift 2
  for _ in $(seq "$limit"); do
    if docker exec "$run-$name" "$@" >/dev/null 2>&1; then
      echo "$name: up"
      return 0
    fi
    sleep 1
  done
  echo "$name does not answer. Its log:" >&2
  docker logs "$run-$name" >&2
  return 1
}

# The images have no curl; they have Node.
healthz() {
  up "$1" 60 node -e "fetch('http://127.0.0.1:$2/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
}

[ "$network" != "$run" ] || docker network create "$run" >/dev/null

docker run --detach --name "$run-database" --network "$network" \
  --env POSTGRES_PASSWORD=smoke --env POSTGRES_DB=cliscale "$postgres" >/dev/null
up database 60 pg_isready --host 127.0.0.1 --username postgres --dbname cliscale
database=postgres://postgres:smoke@$run-database:5432/cliscale

# What a cluster would mount. Nothing answers at the API server's address: being alive must not depend on it.
cat >"$files/session.json" <<'JSON'
{ "runnerImage": "registry.invalid/runner:smoke" }
JSON
cat >"$files/kubeconfig" <<'YAML'
apiVersion: v1
kind: Config
current-context: smoke
contexts: [{ name: smoke, context: { cluster: smoke, user: smoke } }]
clusters: [{ name: smoke, cluster: { server: 'https://127.0.0.1:1' } }]
users: [{ name: smoke, user: { token: smoke } }]
YAML
chmod 755 "$files" && chmod 644 "$files"/*
key=$(docker run --rm "$controller" node -e "
  const { privateKey } = require('node:crypto').generateKeyPairSync('rsa', { modulusLength: 2048 })
  process.stdout.write(privateKey.export({ type: 'pkcs8', format: 'pem' }))")

docker run --rm --network "$network" --env CLISCALE_DATABASE_URL="$database" \
  "$controller" node controller/dist/db/migrate-cli.js latest

docker create --name "$run-controller" --network "$network" \
  --env CLISCALE_DATABASE_URL="$database" \
  --env CLISCALE_API_KEY=cs_key_smoke_0123456789abcdef0123456789abcdef \
  --env CLISCALE_DATA_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= \
  --env CLISCALE_SIGNING_KEY="$key" \
  --env CLISCALE_LISTEN_ADDRESS=0.0.0.0 \
  --env CLISCALE_KUBERNETES_NAMESPACE=smoke-sessions \
  --env CLISCALE_INSTANCE=smoke \
  --env CLISCALE_INTERNAL_URL="http://$run-controller:7082" \
  --env CLISCALE_SESSION_TEMPLATE_FILE=/tmp/smoke/session.json \
  --env KUBECONFIG=/tmp/smoke/kubeconfig \
  "$controller" >/dev/null
docker cp "$files" "$run-controller:/tmp/smoke"
docker start "$run-controller" >/dev/null
healthz controller 7080

docker run --detach --name "$run-gateway" --network "$network" \
  --env CLISCALE_DATABASE_URL="$database" \
  --env CLISCALE_JWKS_URL="http://$run-controller:7080/.well-known/jwks.json" \
  --env CLISCALE_LISTEN_ADDRESS=0.0.0.0 \
  "$gateway" >/dev/null
healthz gateway 7081

# The runner has no server to ask before it has claimed a session. Both its programs say what they miss, and leave with
# the exit code for wrong settings: then all that they import is there.
for program in host work; do
  code=0
  docker run --rm "$runner" node "/opt/cliscale/$program.js" || code=$?
  if [ "$code" -ne 78 ]; then
    echo "runner: $program ended with $code instead of 78" >&2
    exit 1
  fi
  echo "runner: $program starts"
done
docker run --rm "$runner" /opt/cliscale/bin/tini --version
docker run --rm "$runner" git --version
