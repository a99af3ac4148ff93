-- Checkouts for wrk, as scripts/bench sends them: one item, quantity 1, a new Idempotency-Key for each.
--
-- From the environment, which all of wrk's Lua states see:
--   BENCH_RUN     a hexadecimal number that no other run has
--   BENCH_ITEMS   checkouts are spread evenly over the items 1 to this
--   BENCH_KEYS    "ordered" for keys that begin with the time, else they begin at random
--   BENCH_RESULT  the file to write the result to, as JSON
local run = os.getenv("BENCH_RUN")
local items = tonumber(os.getenv("BENCH_ITEMS"))
local ordered = os.getenv("BENCH_KEYS") == "ordered"

local threads = {}

function setup(thread)
    table.insert(threads, thread)
    thread:set("number", #threads)
end

-- Global, as thread:get sees only globals.
sent = 0
answered = {}

local head

function init()
    math.randomseed(tonumber(run, 16) + number)
    head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
        .. "\r\nContent-Type: application/json\r\nIdempotency-Key: "
end

function request()
    sent = sent + 1
    -- Unique by what stands after the first dash. Random before it, as most clients' keys are: keys in sequence all land
    -- in one corner of the index, and a large store looks faster than it is for others.
    local first = ordered and string.format("%08x%08x", os.time(), sent) or string.format("%08x", math.random(0, 4294967295))
    local key = string.format("%s-%s-%d-%d", first, run, number, sent)
    local body = string.format('{"itemId":%d,"quantity":1}', math.random(1, items))
    return head .. key .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function response(status)
    answered[status] = (answered[status] or 0) + 1
end

function done(summary, latency)
    local total, statuses = 0, {}
    for _, thread in ipairs(threads) do
        total = total + thread:get("sent")
        for status, count in pairs(thread:get("answered")) do
            statuses[status] = (statuses[status] or 0) + count
        end
    end
    local members = {}
    for status, count in pairs(statuses) do
        table.insert(members, string.format('"%d":%d', status, count))
    end
    local errors = summary.errors
    local file = assert(io.open(os.getenv("BENCH_RESULT"), "w"))
    file:write(string.format(
        '{"durationSeconds":%.6f,"sent":%d,"statuses":{%s},"connect":%d,"read":%d,"write":%d,"late":%d,'
            .. '"p50Micros":%d,"p99Micros":%d,"p999Micros":%d,"maxMicros":%d}\n',
        summary.duration / 1e6, total, table.concat(members, ","),
        errors.connect, errors.read, errors.write, errors.timeout,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
    file:close()
end
