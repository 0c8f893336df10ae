-- wilco's store. Times are Unix milliseconds.

-- One verified webhook, without its headers and body. `seq` grows with time and is the first 63 bits
-- of `id`.
CREATE TABLE event (
  seq            INTEGER PRIMARY KEY,
  id             TEXT    NOT NULL,
  source         TEXT    NOT NULL,
  provider       TEXT    NOT NULL,  -- who sent it: names of events belong to their provider
  name           TEXT    NOT NULL,
  subject        TEXT,              -- what it is about, NULL where the body does not say
  delivery_id    TEXT,              -- the provider's, where it gives one
  conflict       INTEGER NOT NULL,  -- 1: the same delivery_id came before with another body
  received_at_ms INTEGER NOT NULL,
  secret_name    TEXT    NOT NULL,  -- the name of the secret that matched, or of the token it was fetched with
  origin         TEXT    NOT NULL,  -- webhook, redelivered, fetched
  bytes          INTEGER NOT NULL,  -- of the body
  digest         BLOB    NOT NULL,  -- SHA-256 of the body
  head_checksum  INTEGER NOT NULL,  -- CRC-32 of all of these but seq
  checksum       INTEGER NOT NULL   -- the same, and of headers and body
) STRICT;

-- The headers and the body of an event, byte for byte as they were signed. Apart from it, because an
-- event is small and kept for long, and these need not be.
CREATE TABLE payload (
  event   INTEGER PRIMARY KEY REFERENCES event (seq),
  headers BLOB NOT NULL,  -- `name: value`, each ended by CR LF
  body    BLOB NOT NULL,  -- empty if it has more than 256 KiB
  chunks  INTEGER         -- then the number of its chunks
) STRICT;

-- A body of more than 256 KiB, in chunks of 64 KiB. They are there before the event is.
CREATE TABLE payload_chunk (
  chunks INTEGER NOT NULL,  -- the number of the body
  number INTEGER NOT NULL,  -- of the chunk, from 0
  body   BLOB    NOT NULL,
  PRIMARY KEY (chunks, number)
) STRICT, WITHOUT ROWID;

-- Bodies of which chunks are written that no event has yet. A start removes those of the last process.
CREATE TABLE partial_body (
  chunks INTEGER PRIMARY KEY
) STRICT;

-- Few events have another origin than a webhook; they are counted by source and time.
CREATE INDEX event_backfilled ON event (source, received_at_ms) WHERE origin <> 'webhook';

-- How duplicates are detected: the latest event about a subject, or with a delivery id. `key` is a hash.
CREATE TABLE latest_event (
  key   INTEGER PRIMARY KEY,
  event INTEGER NOT NULL
) STRICT;

-- Events that were erased: their payload was removed before its time, and so was what they are about. Duplicates
-- of them are still detected, by the keys that they had in `latest_event`.
CREATE TABLE erased (
  event    INTEGER PRIMARY KEY,
  key      INTEGER NOT NULL,  -- of the subject, or of the delivery id
  body_key INTEGER            -- of the delivery id and the body
) STRICT;

-- Events whose record was found not to be what was written.
CREATE TABLE damaged (
  event INTEGER PRIMARY KEY
) STRICT;

-- One row. No event is recorded at or below any of these places, whatever was removed. Payloads of
-- events up to `pruned_through` may have been removed, those of events with unfinished deliveries have not. Every event up to `routed_through` has been
-- routed, and every event up to `indexed_through` is in `latest_event`; the newer ones are held in memory.
CREATE TABLE progress (
  routed_through  INTEGER NOT NULL,
  indexed_through INTEGER NOT NULL,
  pruned_through  INTEGER NOT NULL,
  last_delivery   INTEGER NOT NULL, -- the largest number of a delivery that was removed
  last_change     INTEGER NOT NULL  -- the largest number of a change of one
) STRICT;
INSERT INTO progress VALUES (0, 0, 0, 0, 0);

-- One row: how much there is, but for the events behind `counted_through`, which are counted when somebody asks.
-- What is removed is subtracted at once, so that a number may be negative for a while.
CREATE TABLE contents (
  counted_through INTEGER NOT NULL,
  events          INTEGER NOT NULL,
  payloads        INTEGER NOT NULL,
  body_bytes      INTEGER NOT NULL  -- of these payloads
) STRICT;
INSERT INTO contents VALUES (0, 0, 0, 0);

-- One row: the pass over the file that overwrites copies of what was removed, a page after another from the last to
-- the first.
CREATE TABLE overwriting (
  is_wanted  INTEGER NOT NULL, -- 1: something was removed since the last pass began
  next_page  INTEGER,          -- 0 once only the log has to be emptied; NULL if no pass is under way
  began_ms   INTEGER,          -- when the last pass began
  through_ms INTEGER           -- when the last one began that was completed: what was removed before is overwritten
) STRICT;
INSERT INTO overwriting VALUES (0, NULL, NULL, NULL);

-- One event on its way to one destination.
CREATE TABLE delivery (
  id                 INTEGER PRIMARY KEY,
  event              INTEGER NOT NULL REFERENCES event (seq),
  destination        TEXT    NOT NULL,
  item               INTEGER,          -- the number of the item, from 0; NULL for the whole event
  item_start         INTEGER,          -- where it begins in the body, in bytes
  item_end           INTEGER,          -- where it ends
  state              TEXT    NOT NULL, -- pending, running, delivered, retrying, dead, skipped, cancelled, superseded
  due_at_ms          INTEGER,          -- NULL unless pending or retrying, and while held
  attempts           INTEGER NOT NULL, -- begun, so that a crash in the middle of one counts
  waited_ms          INTEGER NOT NULL, -- between attempts, all together
  needs_reevaluation INTEGER NOT NULL, -- 1: a rule of its route failed, and is asked again
  order_key          TEXT,             -- one after another with those of this key
  key_role           TEXT,             -- head: the others of its key wait for it; held: it waits for the head
  burst_key          TEXT,             -- one burst with those of this key, until one of them is tried
  burst_began_ms     INTEGER,
  not_before_ms      INTEGER,          -- of a burst: when it is over
  reason             TEXT,             -- why it was made, where no route did: a replay's reason
  replaced_by        INTEGER,          -- the event that went in its place
  last_error         TEXT,
  changed            INTEGER NOT NULL  -- when it was made or changed last: a number of the sequence of `event.seq`
) STRICT;

CREATE INDEX delivery_by_event ON delivery (event);
-- For whoever follows what happens. It takes about 30 bytes and 1.5 µs for each delivery.
CREATE INDEX delivery_changed ON delivery (changed);
CREATE INDEX delivery_due ON delivery (destination, due_at_ms, id, state) WHERE due_at_ms IS NOT NULL;
-- With all that a list of dead letters asks for, so that it looks at no other row.
CREATE INDEX delivery_unfinished ON delivery (destination, state, event, replaced_by)
  WHERE state IN ('running', 'dead') AND replaced_by IS NULL;
CREATE UNIQUE INDEX delivery_head ON delivery (destination, order_key) WHERE key_role = 'head';
CREATE INDEX delivery_held ON delivery (destination, order_key, id) WHERE key_role = 'held';
CREATE UNIQUE INDEX delivery_burst ON delivery (destination, burst_key)
  WHERE burst_key IS NOT NULL AND state = 'pending';

-- One try of a delivery that came to an end.
CREATE TABLE attempt (
  delivery      INTEGER NOT NULL REFERENCES delivery (id),
  number        INTEGER NOT NULL,   -- from 1
  started_at_ms INTEGER NOT NULL,
  took_us       INTEGER NOT NULL,
  result        TEXT    NOT NULL,   -- in a few words
  request       TEXT    NOT NULL,   -- what was sent, without secrets; empty if that follows from the event
  output        BLOB    NOT NULL,   -- of a command the end of its output, of a response the beginning of its body
  PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- Requests that were refused: the newest ten thousand. `seq` is to `id` what it is to that of an event.
CREATE TABLE rejection (
  seq            INTEGER PRIMARY KEY,
  id             TEXT    NOT NULL,
  received_at_ms INTEGER NOT NULL,
  source         TEXT    NOT NULL,
  provider       TEXT    NOT NULL,
  reason         TEXT    NOT NULL,  -- a word
  message        TEXT    NOT NULL,  -- the reason in words
  client         TEXT,              -- its IP address, NULL where it came over a Unix socket
  method         TEXT    NOT NULL,
  url            TEXT    NOT NULL,  -- by which the provider knows the endpoint, or what it requested
  hidden         TEXT    NOT NULL,  -- names of headers and parameters that are secret, one a line
  bytes          INTEGER NOT NULL,  -- of the body as it came
  digest         BLOB    NOT NULL,  -- SHA-256 of the body as it came
  complete       INTEGER NOT NULL,  -- 1: all is kept as it came, with credentials; 0: without them, and 64 KiB of the body
  headers        BLOB    NOT NULL,
  body           BLOB    NOT NULL
) STRICT;

-- Events that were rejected first. Each was received before others that were recorded before it.
CREATE TABLE accepted (
  event INTEGER PRIMARY KEY
) STRICT;

-- The status of a destination, once it differs from the default.
CREATE TABLE destination (
  name          TEXT    PRIMARY KEY,
  paused        INTEGER NOT NULL,
  failures      INTEGER NOT NULL,   -- attempts that failed one after another
  open_until_ms INTEGER,            -- its breaker is open: no attempt before this time
  revision      INTEGER NOT NULL    -- counts the changes of the breaker
) STRICT, WITHOUT ROWID;

-- How often and when each secret of the configuration matched, by its name, duplicates included.
CREATE TABLE secret_match (
  source       TEXT    NOT NULL,
  secret_name  TEXT    NOT NULL,
  since_ms     INTEGER NOT NULL,  -- when it was first configured
  matches      INTEGER NOT NULL,
  first_ms     INTEGER,           -- when the first and the last request that it signed were received
  last_ms      INTEGER,
  others_since INTEGER NOT NULL,  -- matches of other secrets of the source since its last, or since it is known
  PRIMARY KEY (source, secret_name)
) STRICT, WITHOUT ROWID;

-- What people did by the admin API: the newest ten thousand actions.
CREATE TABLE audit (
  number   INTEGER PRIMARY KEY,
  at_ms    INTEGER NOT NULL,
  who      TEXT    NOT NULL,  -- by what: token, dashboard, command line
  action   TEXT    NOT NULL,  -- the id of the operation
  target   TEXT,              -- what it was done to
  affected INTEGER,           -- how many events or deliveries it changed
  result   TEXT    NOT NULL   -- done, or why it was not
) STRICT;

-- When an alert was last recorded.
CREATE TABLE alert (
  key   TEXT    PRIMARY KEY,
  at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: when the service last noted that it runs. Only with a source that has a backfill.
CREATE TABLE running (
  id         INTEGER PRIMARY KEY,
  seen_at_ms INTEGER NOT NULL
) STRICT;

-- The backfill of a source: up to when its provider was asked for what never arrived.
CREATE TABLE backfill (
  source           TEXT    PRIMARY KEY,
  covered_ms       INTEGER NOT NULL,
  error            TEXT,     -- why the last round failed
  failing_since_ms INTEGER
) STRICT, WITHOUT ROWID;

-- Deliveries that a provider was asked to send again, and that have not come. Removed when they come, or ten days
-- after the last request.
CREATE TABLE awaited (
  id          INTEGER PRIMARY KEY,
  source      TEXT    NOT NULL,
  delivery_id TEXT    NOT NULL,
  asked       INTEGER NOT NULL,  -- how often
  asked_ms    INTEGER NOT NULL,  -- when last
  given_up    INTEGER NOT NULL,  -- 1: it is not asked for any more
  UNIQUE (source, delivery_id)
) STRICT;

-- When the service did not run, for each source with a backfill: the newest thousand.
CREATE TABLE gap (
  id        INTEGER PRIMARY KEY,
  source    TEXT    NOT NULL,
  from_ms   INTEGER NOT NULL,
  to_ms     INTEGER NOT NULL,
  closed_ms INTEGER            -- when a round that covers it had succeeded
) STRICT;
