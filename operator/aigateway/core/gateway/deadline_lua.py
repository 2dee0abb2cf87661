"""The script that keeps requests within their deadlines; it runs in the gateways' Envoy.

:mod:`aigateway.core.gateway.gateway_filter` puts it into the filter chain.  Its parameters are the route's metadata
that :func:`aigateway.core.gateway.route_extension.deadline` writes; what it refuses and why, it leaves in the request's
dynamic metadata (``error_type`` and ``field``), where bodies and log lines are made from it.
"""

from __future__ import annotations

from string import Template

_LUA = Template(r"""
-- A longer wait is no wait that a timer has to end.
local MOST = 30 * 24 * 3600 * 1000
local UNITS = {H = 3600000, M = 60000, S = 1000, m = 1, u = 1e-3, n = 1e-6}

-- Both return the milliseconds left, nil where the header is missing, and false where it has no time in it.
local function left_until(value, now)
  if not value then return nil end
  if not value:find("^%-?%d+%.?%d*$$") then return false end
  return tonumber(value) - now
end

local function left_of(value)
  if not value then return nil end
  local digits, unit = value:match("^(%d+)([HMSmun])$$")
  return digits and tonumber(digits) * UNITS[unit] or false
end

local function refuse(handle, grpc, refusal, field)
  local dynamic = handle:streamInfo():dynamicMetadata()
  dynamic:set("$filter", "error_type", refusal.kind)
  dynamic:set("$filter", "field", field)
  local headers = {[":status"] = refusal.status}
  if grpc then headers["grpc-status"] = refusal.grpc end
  handle:respond(headers, refusal.message)
end

local LATE = {kind = "$late", status = "504", grpc = "4", message = "$late_message"}
local INVALID = {kind = "$invalid", status = "400", grpc = "3", message = "$invalid_message"}

function envoy_on_request(handle)
  local route = handle:metadata()
  local field = route:get("header")
  if not field then return end
  local headers = handle:headers()
  local given = headers:get("grpc-timeout")
  local grpc = (headers:get("content-type") or ""):find("application/grpc", 1, true) == 1
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


def deadline_lua(*, filter_name: str, late: tuple[str, str], invalid: tuple[str, str]) -> str:
    """Return the script; ``late`` and ``invalid`` are type and message of what it answers instead of a model."""
    return _LUA.substitute(
        filter=filter_name,
        late=late[0],
        late_message=late[1],
        invalid=invalid[0],
        invalid_message=invalid[1],
    ).lstrip()
