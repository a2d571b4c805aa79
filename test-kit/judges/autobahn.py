"""Runs cases of the Autobahn test suite against a WebSocket server that echoes: autobahn.py URL [CASE|-CASE]…

Prints one JSON object for each case. Always exits with 0 when all were run: whoever calls judges the verdicts.
"""

import asyncio
import json
import sys

import kosoku

AT_ONCE = 8


def waits_for_echo(result):
    return any(event[0] == "message" for events in (result.expected or {}).values() for event in events)


async def main(url, *cases):
    include = [case for case in cases if not case.startswith("-")]
    exclude = [case[1:] for case in cases if case.startswith("-")]
    try:
        results = await kosoku.run_fuzzingclient(url, include or None, exclude or None, concurrency=AT_ONCE)
    except kosoku.FailureError as failure:
        results = failure.results
    for result in results:
        verdict = {
            "id": result.case_id,
            "passed": result.passed,
            "behavior": result.behavior.value,
            "close": result.behavior_close.value,
            "why": f"{result.result} {result.result_close} (close code {result.remote_close_code})",
            "waitsForEcho": waits_for_echo(result),
        }
        print(json.dumps(verdict))


asyncio.run(main(*sys.argv[1:]))
