//! The documented views: what operators ask of the journal, computed from the entries and never
//! maintained. They read the stored form of the kernel's records and nothing else of it.

/// `v_records` is the base: one row per record. A session is its ten bytes in hexadecimal, since
/// plain `sqlite3` has no base 32; the runtime's own query can turn it into the session's name.
pub const VIEWS: &str = "
CREATE VIEW v_records AS
SELECT lower(hex(h.session)) AS session, e.seq - e.n + 1 + r.key AS seq,
  e.body ->> '$.at' AS at, k.key AS kind, k.value AS data,
  h.agent AS agent, h.principal AS principal, h.channel AS channel
FROM entries e
JOIN heads h ON h.id = e.session
JOIN json_each(e.body, '$.records') r
JOIN json_each(iif(r.type = 'object', r.value, json_object(r.value, NULL))) k;

CREATE VIEW v_turns AS
SELECT session, turn, min(agent) AS agent, min(principal) AS principal, min(channel) AS channel,
  max(CASE kind WHEN 'turn_started' THEN at END) AS started_at,
  max(CASE kind WHEN 'turn_ended' THEN at END) AS ended_at,
  max(CASE kind WHEN 'turn_ended' THEN data ->> '$.reason' END) AS reason,
  max(CASE kind WHEN 'turn_ended' THEN data ->> '$.spent.tokens' END) AS tokens,
  max(CASE kind WHEN 'turn_ended' THEN data ->> '$.spent.micro_usd' END) AS micro_usd,
  max(CASE kind WHEN 'turn_ended' THEN data ->> '$.reply.id' END) AS reply
FROM (
  SELECT *, CASE kind WHEN 'turn_started' THEN data ->> '$.messages[#-1]' ELSE data ->> '$.turn' END AS turn
  FROM v_records WHERE kind IN ('turn_started', 'turn_ended')
) GROUP BY session, turn;

-- `verdict` is the last one, and `state` the latest record about the effect; `doubted` there is an effect in doubt.
CREATE VIEW v_effects AS
SELECT session, effect, min(agent) AS agent,
  max(what) AS kind,
  max(CASE what WHEN 'model' THEN data ->> '$.model.turn' WHEN 'tool' THEN data ->> '$.tool.turn' END) AS turn,
  max(CASE what WHEN 'model' THEN data ->> '$.model.model' WHEN 'tool' THEN data ->> '$.tool.call.tool' END) AS name,
  substr(max(CASE kind WHEN 'judged' THEN printf('%019d%s', seq, coalesce((SELECT key FROM json_each(data, '$.verdict') WHERE json_type(data, '$.verdict') = 'object'), data ->> '$.verdict')) END), 20) AS verdict,
  sum(kind = 'started') AS starts,
  max(CASE kind WHEN 'started' THEN at END) AS started_at,
  max(CASE kind WHEN 'ended' THEN at END) AS ended_at,
  max(CASE kind WHEN 'ended' THEN coalesce((SELECT key FROM json_each(data, '$.end') WHERE json_type(data, '$.end') = 'object'), data ->> '$.end') END) AS end,
  substr(max(printf('%019d%s', seq, kind)), 20) AS state,
  max(CASE kind WHEN 'ended' THEN data ->> '$.spent.tokens' END) AS tokens,
  max(CASE kind WHEN 'ended' THEN data ->> '$.spent.micro_usd' END) AS micro_usd
FROM (
  SELECT *, CASE kind WHEN 'planned' THEN seq ELSE data ->> '$.effect' END AS effect,
    CASE kind WHEN 'planned' THEN (SELECT key FROM json_each(data)) END AS what
  FROM v_records WHERE kind IN ('planned', 'judged', 'decided', 'answered', 'started', 'bounced',
    'retried', 'lapsed', 'doubted', 'resolved', 'ended')
) GROUP BY session, effect;

-- One row per bill, by day in UTC.
CREATE VIEW v_spend AS
SELECT strftime('%Y-%m-%d', at / 1000, 'unixepoch') AS day, at, session, data ->> '$.effect' AS effect,
  agent, principal, channel,
  data ->> '$.spent.tokens' AS tokens, data ->> '$.spent.micro_usd' AS micro_usd
FROM v_records WHERE kind = 'ended' AND json_type(data, '$.spent') = 'object';

-- What each model call was sent: the body that holds the request, and its digest.
CREATE VIEW v_context AS
SELECT session, data ->> '$.effect' AS effect, seq AS started, at, data ->> '$.attempt' AS attempt,
  data ->> '$.request.rope.id' AS rope, data ->> '$.request.digest' AS digest,
  data ->> '$.request.bytes' AS bytes, data ->> '$.request.bytes_unchanged' AS bytes_unchanged
FROM v_records WHERE kind = 'started' AND json_type(data, '$.request') = 'object';

-- Of several questions about a call the last. A null decision is an approval that nobody has given or refused yet.
CREATE VIEW v_approvals AS
SELECT session, effect,
  max(CASE kind WHEN 'judged' THEN at END) AS asked_at,
  substr(max(CASE kind WHEN 'judged' THEN printf('%019d%s', seq, coalesce(data ->> '$.verdict.ask.by.rule', data ->> '$.verdict.ask.by')) END), 20) AS rule,
  max(CASE kind WHEN 'judged' THEN data ->> '$.verdict.ask.expires_at' END) AS expires_at,
  substr(max(CASE kind WHEN 'judged' THEN printf('%019d%s', seq, data ->> '$.verdict.ask.digest') END), 20) AS digest,
  max(CASE kind WHEN 'decided' THEN data ->> '$.decision' END) AS decision,
  max(CASE kind WHEN 'decided' THEN data ->> '$.by' END) AS decided_by,
  max(CASE kind WHEN 'decided' THEN at END) AS decided_at
FROM (
  SELECT *, data ->> '$.effect' AS effect FROM v_records
  WHERE kind = 'decided' OR (kind = 'judged' AND json_type(data, '$.verdict.ask') = 'object')
) GROUP BY session, effect;
";
