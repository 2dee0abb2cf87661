"""The script that looks at headers before anything else does: deadlines, and keys of rate limits; it runs in Envoy.

:mod:`aigateway.core.gateway.gateway_filter` puts it into the filter chain.  Its parameters are the route's metadata
that :func:`aigateway.core.gateway.route_extension.deadline` writes; what it refuses and why, it leaves in the request's
dynamic metadata (``refusal``, ``error_type`` and ``field``), where bodies and log lines are made from it.
"""

from __future__ import annotations

from string import Template

_LUA = Template(r"""
-- Clients write these headers: lengths are bounded before a pattern looks at them, since a pattern that has to try
-- again and again would hold up every request of the proxy, and keys are kept in its memory.
local LONGEST_TIME, LONGEST_KEY = 20, $longest_key
-- A longer wait is no wait that a timer has to end.
local MOST = 30 * 24 * 3600 * 1000
local UNITS = {H = 3600000, M = 60000, S = 1000, m = 1, u = 1e-3, n = 1e-6}

-- Both return the milliseconds left, nil where the header is missing, and false where it has no time in it.
local function left_until(value, now)
  if not value then return nil end
  if #value > LONGEST_TIME then return false end
  if not (value:find("^%-?%d+$$") or value:find("^%-?%d+%.%d+$$")) then return false end
  return tonumber(value) - now
end

local function left_of(value)
  if not value then return nil end
  if #value > LONGEST_TIME then return false end
  local digits, unit = value:match("^(%d+)([HMSmun])$$")
  return digits and tonumber(digits) * UNITS[unit] or false
end

local function refuse(handle, grpc, refusal, field)
  local dynamic = handle:streamInfo():dynamicMetadata()
  dynamic:set("$filter", "refusal", refusal.kind)
  dynamic:set("$filter", "error_type", refusal.error_type)
  dynamic:set("$filter", "field", field)
  local headers = {[":status"] = refusal.status}
  if grpc then headers["grpc-status"] = refusal.grpc end
  handle:respond(headers, refusal.message)
end

local LATE = {kind = "late", error_type = "$late", message = "$late_message", status = "504", grpc = "4"}
local INVALID = {kind = "invalid", error_type = "$invalid", message = "$invalid_message", status = "400", grpc = "3"}
local TOO_LONG = {kind = "too-long", error_type = "$too_long",
                  message = "$too_long_message", status = "400", grpc = "3"}

function envoy_on_request(handle)
  local route = handle:metadata()
  local headers = handle:headers()
  local grpc = (headers:get("content-type") or ""):find("application/grpc", 1, true) == 1
  for _, key in ipairs(route:get("keys") or {}) do
    if #(headers:get(key) or "") > LONGEST_KEY then return refuse(handle, grpc, TOO_LONG, key) end
  end
  local field = route:get("header")
  if not field then return end
  local given = headers:get("grpc-timeout")
  local left, other = left_until(headers:get(field), handle:timestamp()), left_of(given)
  if left == false then return refuse(handle, grpc, INVALID, field) end
  if other == false then return refuse(handle, grpc, INVALID, "grpc-timeout") end
  if other and (not left or other < left) then left, field = other, "grpc-timeout" end
  if not left then return end
  left = math.floor(left)
  if left < 1 then return refuse(handle, grpc, LATE, field) end
  if left > MOST then return end

  -- This header takes the place of the route's timeout, also of a shorter one.
  local trusted = tonumber(headers:get("x-envoy-upstream-rq-timeout-ms") or "")
  local wait = math.min(left, route:get("request_ms") or left, trusted and trusted > 0 and trusted or left)
  headers:replace("x-envoy-upstream-rq-timeout-ms", string.format("%d", wait))
  if grpc or given then
    headers:replace("grpc-timeout", wait < 1e8 and string.format("%dm", wait) or string.format("%dS", wait / 1000))
  end

  local try, retries = route:get("per_try_ms"), route:get("attempts")
  if try and retries > 0 then
    local affordable = math.max(0, math.floor((left - try) / (try + route:get("backoff_ms"))))
    if affordable < retries then headers:replace("x-envoy-max-retries", string.format("%d", affordable)) end
  end
end
""")


LONGEST_KEY = 256
"""Bytes of the value of a key header: proxies keep those that they count by."""


def deadline_lua(
    *, filter_name: str, late: tuple[str, str], invalid: tuple[str, str], too_long: tuple[str, str]
) -> str:
    """Return the script; the others are types and messages of what it answers instead of a model.

    In the request's dynamic metadata, ``refusal`` is then ``late``, ``invalid`` or ``too-long``.
    """
    return _LUA.substitute(
        longest_key=LONGEST_KEY,
        too_long=too_long[0],
        too_long_message=too_long[1],
        filter=filter_name,
        late=late[0],
        late_message=late[1],
        invalid=invalid[0],
        invalid_message=invalid[1],
    ).lstrip()
