#!/bin/sh
# Called as `tini -- command …`.
shift
exec "$@"
