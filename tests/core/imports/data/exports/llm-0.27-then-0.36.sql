BEGIN TRANSACTION;
CREATE TABLE "_llm_migrations" (
   "name" TEXT PRIMARY KEY,
   "applied_at" TEXT
);
INSERT INTO "_llm_migrations" VALUES('m001_initial','2026-11-28 01:00:56.468436+00:00');
INSERT INTO "_llm_migrations" VALUES('m002_id_primary_key','2026-11-28 01:00:56.501352+00:00');
INSERT INTO "_llm_migrations" VALUES('m003_chat_id_foreign_key','2026-11-28 01:00:56.576278+00:00');
INSERT INTO "_llm_migrations" VALUES('m004_column_order','2026-11-28 01:00:56.606838+00:00');
INSERT INTO "_llm_migrations" VALUES('m004_drop_provider','2026-11-28 01:00:56.623613+00:00');
INSERT INTO "_llm_migrations" VALUES('m005_debug','2026-11-28 01:00:56.661377+00:00');
INSERT INTO "_llm_migrations" VALUES('m006_new_logs_table','2026-11-28 01:00:56.753503+00:00');
INSERT INTO "_llm_migrations" VALUES('m007_finish_logs_table','2026-11-28 01:00:56.807394+00:00');
INSERT INTO "_llm_migrations" VALUES('m008_reply_to_id_foreign_key','2026-11-28 01:00:56.865470+00:00');
INSERT INTO "_llm_migrations" VALUES('m008_fix_column_order_in_logs','2026-11-28 01:00:56.901350+00:00');
INSERT INTO "_llm_migrations" VALUES('m009_delete_logs_table_if_empty','2026-11-28 01:00:56.929338+00:00');
INSERT INTO "_llm_migrations" VALUES('m010_create_new_log_tables','2026-11-28 01:00:56.979233+00:00');
INSERT INTO "_llm_migrations" VALUES('m012_attachments_tables','2026-11-28 01:00:57.109232+00:00');
INSERT INTO "_llm_migrations" VALUES('m013_usage','2026-11-28 01:00:57.161312+00:00');
INSERT INTO "_llm_migrations" VALUES('m014_schemas','2026-11-28 01:00:57.373282+00:00');
INSERT INTO "_llm_migrations" VALUES('m015_fragments_tables','2026-11-28 01:00:57.477940+00:00');
INSERT INTO "_llm_migrations" VALUES('m016_fragments_table_pks','2026-11-28 01:00:57.537347+00:00');
INSERT INTO "_llm_migrations" VALUES('m017_tools_tables','2026-11-28 01:00:57.637261+00:00');
INSERT INTO "_llm_migrations" VALUES('m017_tools_plugin','2026-11-28 01:00:57.654817+00:00');
INSERT INTO "_llm_migrations" VALUES('m018_tool_instances','2026-11-28 01:00:57.749645+00:00');
INSERT INTO "_llm_migrations" VALUES('m019_resolved_model','2026-11-28 01:00:57.776091+00:00');
INSERT INTO "_llm_migrations" VALUES('m020_tool_results_attachments','2026-11-28 01:00:57.806375+00:00');
INSERT INTO "_llm_migrations" VALUES('m021_tool_results_exception','2026-11-28 01:00:57.837338+00:00');
INSERT INTO "_llm_migrations" VALUES('m022_response_reasoning','2026-11-28 01:01:19.065992+00:00');
INSERT INTO "_llm_migrations" VALUES('m023_message_store','2026-11-28 01:01:19.568638+00:00');
INSERT INTO "_llm_migrations" VALUES('m024_tool_instance_references','2026-11-28 01:01:19.749318+00:00');
INSERT INTO "_llm_migrations" VALUES('m025_turn_tools_instance_backfill','2026-11-28 01:01:19.768934+00:00');
INSERT INTO "_llm_migrations" VALUES('m026_message_tree_view','2026-11-28 01:01:19.817353+00:00');
INSERT INTO "_llm_migrations" VALUES('m027_turns_response_json','2026-11-28 01:01:19.859726+00:00');
CREATE TABLE "attachments" (
   "id" TEXT PRIMARY KEY,
   "type" TEXT,
   "path" TEXT,
   "url" TEXT,
   "content" BLOB
);
INSERT INTO "attachments" VALUES('59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15','image/png','/home/user/red.png',NULL,NULL);
CREATE TABLE "conversations" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "model" TEXT
);
INSERT INTO "conversations" VALUES('01m8ftpw8vnyssh8m1j1g6tqat','Old hello','fake');
INSERT INTO "conversations" VALUES('01m8ftq6jpy80qxjaarrf0svtp','Look','fake');
INSERT INTO "conversations" VALUES('01m8ftqa5j0kv34n2h12n17htp','Add 1 and 2','fake');
CREATE TABLE "fragment_aliases" (
   "alias" TEXT PRIMARY KEY,
   "fragment_id" INTEGER REFERENCES "fragments"("id")
);
CREATE TABLE "fragments" (
   "id" INTEGER PRIMARY KEY,
   "hash" TEXT,
   "content" TEXT,
   "datetime_utc" TEXT,
   "source" TEXT
);
CREATE TABLE "messages" (
   "hash" TEXT PRIMARY KEY,
   "parent_hash" TEXT REFERENCES "messages"("hash"),
   "role" TEXT,
   "provider_metadata" TEXT
);
INSERT INTO "messages" VALUES('b2:5cf0a8b0104b38ecfe70b79b1a196c8e',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:0985c15d8d4cc1b812ae8e662a8a64ae','b2:5cf0a8b0104b38ecfe70b79b1a196c8e','assistant',NULL);
CREATE TABLE "part_attachments" (
   "part_id" INTEGER REFERENCES "parts"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("part_id", "attachment_id", "order")
);
CREATE TABLE "part_fragments" (
   "part_id" INTEGER REFERENCES "parts"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("part_id", "fragment_id", "order")
);
CREATE TABLE "parts" (
   "id" INTEGER PRIMARY KEY,
   "message_hash" TEXT REFERENCES "messages"("hash"),
   "position" INTEGER,
   "type" TEXT,
   "tool_name" TEXT,
   "text" TEXT,
   "payload" TEXT
);
INSERT INTO "parts" VALUES(1,'b2:5cf0a8b0104b38ecfe70b79b1a196c8e',0,'text',NULL,'New in 0.36',NULL);
INSERT INTO "parts" VALUES(2,'b2:0985c15d8d4cc1b812ae8e662a8a64ae',0,'text',NULL,'Answer to: New in 0.36 🍂',NULL);
CREATE TABLE "prompt_attachments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "attachment_id")
);
INSERT INTO "prompt_attachments" VALUES('01m8ftq58zpndjarazcjz93tqh','59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15',0);
CREATE TABLE "prompt_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
CREATE TABLE "responses" (
   "id" TEXT PRIMARY KEY,
   "model" TEXT,
   "prompt" TEXT,
   "system" TEXT,
   "prompt_json" TEXT,
   "options_json" TEXT,
   "response" TEXT,
   "response_json" TEXT,
   "conversation_id" TEXT REFERENCES "conversations"("id"),
   "duration_ms" INTEGER,
   "datetime_utc" TEXT,
   "input_tokens" INTEGER,
   "output_tokens" INTEGER,
   "token_details" TEXT,
   "schema_id" TEXT REFERENCES "schemas"("id")
, "resolved_model" TEXT, "reasoning" TEXT);
INSERT INTO "responses" VALUES('01m8ftpv44her7cmnv58w9y2nn','fake','Old hello','Be old.','{"messages": [{"role": "system", "content": "Be old."}, {"role": "user", "content": "Old hello"}]}','{}','Answer to: Old hello 🍂','{"content": {"$": "r:01m8ftpv44her7cmnv58w9y2nn"}, "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}','01m8ftpw8vnyssh8m1j1g6tqat',1174,'2026-11-28T01:00:57.860171+00:00',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "responses" VALUES('01m8ftpzw0cwwz4f4ssxjx8rsj','fake','More',NULL,'{"messages": [{"role": "system", "content": "Be old."}, {"role": "user", "content": "Old hello"}, {"role": "assistant", "content": "Answer to: Old hello 🍂"}, {"role": "user", "content": "More"}]}','{}','Answer to: More 🍂','{"content": {"$": "r:01m8ftpzw0cwwz4f4ssxjx8rsj"}, "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}','01m8ftpw8vnyssh8m1j1g6tqat',1236,'2026-11-28T01:01:02.720835+00:00',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "responses" VALUES('01m8ftq58zpndjarazcjz93tqh','fake','Look',NULL,'{"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:..."}}]}]}','{}','Answer to: Look  🍂','{"content": {"$": "r:01m8ftq58zpndjarazcjz93tqh"}, "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}','01m8ftq6jpy80qxjaarrf0svtp',1334,'2026-11-28T01:01:08.255455+00:00',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "responses" VALUES('01m8ftqa5q94p64hzw5jarg339','fake','Add 1 and 2',NULL,'{"messages": [{"role": "user", "content": "Add 1 and 2"}]}','{}','','{"content": "", "finish_reason": "tool_calls", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}','01m8ftqa5j0kv34n2h12n17htp',642,'2026-11-28T01:01:13.271825+00:00',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "responses" VALUES('01m8ftqastqrc4vj4rt1g6apnw','fake','',NULL,'{"messages": [{"role": "user", "content": "Add 1 and 2"}, {"role": "assistant", "tool_calls": [{"type": "function", "id": "c1", "function": {"name": "add", "arguments": "{\"a\": 1, \"b\": 2}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "3"}]}','{}','Answer to: 3 🍂','{"content": {"$": "r:01m8ftqastqrc4vj4rt1g6apnw"}, "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}','01m8ftqa5j0kv34n2h12n17htp',60,'2026-11-28T01:01:13.914373+00:00',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE "schemas" (
   "id" TEXT PRIMARY KEY,
   "content" TEXT
);
CREATE TABLE "system_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
CREATE TABLE "threads" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "tip_message_hash" TEXT REFERENCES "messages"("hash"),
   "forked_from" TEXT REFERENCES "threads"("id"),
   "datetime_utc" TEXT
);
INSERT INTO "threads" VALUES('01m8ftqpmt8hahz3hn86q2r6y4','New in 0.36','b2:0985c15d8d4cc1b812ae8e662a8a64ae',NULL,'2026-11-28 01:01:26.867319+00:00');
CREATE TABLE "tool_calls" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "arguments" TEXT,
   "tool_call_id" TEXT
);
INSERT INTO "tool_calls" VALUES(1,'01m8ftqa5q94p64hzw5jarg339',1,'add','{"a": 1, "b": 2}','c1');
CREATE TABLE "tool_instances" (
   "id" INTEGER PRIMARY KEY,
   "plugin" TEXT,
   "name" TEXT,
   "arguments" TEXT
);
CREATE TABLE "tool_instantiations" (
   "turn_id" TEXT REFERENCES "turns"("id"),
   "tool_call_id" TEXT,
   "instance_id" INTEGER REFERENCES "tool_instances"("id"),
   PRIMARY KEY ("turn_id", "tool_call_id")
);
CREATE TABLE "tool_responses" (
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "response_id" TEXT REFERENCES "responses"("id"),
   PRIMARY KEY ("tool_id", "response_id")
);
INSERT INTO "tool_responses" VALUES(1,'01m8ftqa5q94p64hzw5jarg339');
INSERT INTO "tool_responses" VALUES(1,'01m8ftqastqrc4vj4rt1g6apnw');
CREATE TABLE "tool_results" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "output" TEXT,
   "tool_call_id" TEXT,
   "instance_id" INTEGER REFERENCES "tool_instances"("id")
, "exception" TEXT);
INSERT INTO "tool_results" VALUES(1,'01m8ftqastqrc4vj4rt1g6apnw',1,'add','3','c1',NULL,NULL);
CREATE TABLE "tool_results_attachments" (
   "tool_result_id" INTEGER REFERENCES "tool_results"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("tool_result_id", "attachment_id")
);
CREATE TABLE "tools" (
   "id" INTEGER PRIMARY KEY,
   "hash" TEXT,
   "name" TEXT,
   "description" TEXT,
   "input_schema" TEXT
, "plugin" TEXT);
INSERT INTO "tools" VALUES(1,'072bb5a156bf3cc944b8e6e8a3a03f56dd9d84b9756ae3bdebbc1cc68f670b68','add','Add','{"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"], "type": "object"}',NULL);
CREATE TABLE "turn_fragments" (
   "turn_id" TEXT REFERENCES "turns"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   "kind" TEXT,
   PRIMARY KEY ("turn_id", "fragment_id", "kind", "order")
);
CREATE TABLE "turn_search" (
   "id" INTEGER PRIMARY KEY,
   "turn_id" TEXT REFERENCES "turns"("id"),
   "prompt" TEXT,
   "response" TEXT
);
INSERT INTO "turn_search" VALUES(1,'01m8ftqpmwsrsh0cr0986spgeq','New in 0.36','Answer to: New in 0.36 🍂');
CREATE TABLE "turn_tools" (
   "turn_id" TEXT REFERENCES "turns"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "instance_id" INTEGER REFERENCES "tool_instances"("id"),
   PRIMARY KEY ("turn_id", "tool_id")
);
CREATE TABLE "turns" (
   "id" TEXT PRIMARY KEY,
   "thread_id" TEXT REFERENCES "threads"("id"),
   "parent_message_hash" TEXT REFERENCES "messages"("hash"),
   "tip_message_hash" TEXT REFERENCES "messages"("hash"),
   "model" TEXT,
   "resolved_model" TEXT,
   "options_json" TEXT,
   "schema_id" TEXT REFERENCES "schemas"("id"),
   "input_tokens" INTEGER,
   "output_tokens" INTEGER,
   "token_details" TEXT,
   "duration_ms" INTEGER,
   "datetime_utc" TEXT
, "response_json" TEXT);
INSERT INTO "turns" VALUES('01m8ftqpmwsrsh0cr0986spgeq','01m8ftqpmt8hahz3hn86q2r6y4','b2:5cf0a8b0104b38ecfe70b79b1a196c8e','b2:0985c15d8d4cc1b812ae8e662a8a64ae','fake',NULL,NULL,NULL,NULL,NULL,NULL,822,'2026-11-28T01:01:26.044177+00:00','{"content": "Answer to: New in 0.36 \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
CREATE UNIQUE INDEX "idx_fragments_hash"
    ON "fragments" ("hash");
CREATE UNIQUE INDEX "idx_tools_hash"
    ON "tools" ("hash");
CREATE INDEX "idx_messages_parent_hash"
    ON "messages" ("parent_hash");
CREATE UNIQUE INDEX "idx_parts_message_hash_position"
    ON "parts" ("message_hash", "position");
CREATE INDEX "idx_part_fragments_fragment_id"
    ON "part_fragments" ("fragment_id");
CREATE INDEX "idx_turns_thread_id"
    ON "turns" ("thread_id");
CREATE INDEX "idx_turn_fragments_fragment_id"
    ON "turn_fragments" ("fragment_id");
CREATE UNIQUE INDEX "idx_turn_search_turn_id"
    ON "turn_search" ("turn_id");
CREATE VIEW "message_tree" AS with recursive msg as (
  select m.hash, m.parent_hash, m.role, m.rowid as rid,
    replace(coalesce(
      nullif(p.text, ''),
      (select f.content from part_fragments pf
       join fragments f on f.id = pf.fragment_id
       where pf.part_id = p.id
       order by pf."order" limit 1),
      '[' || coalesce(p.type, 'empty') || ']'
    ), char(10), ' ') as text,
    (select group_concat(p2.tool_name, ', ') from parts p2
     where p2.message_hash = m.hash and p2.type = 'tool_result'
       and p2.tool_name is not null) as tools
  from messages m
  left join parts p on p.message_hash = m.hash and p.position = 0
),
tree as (
  select hash, text, tools, 0 as depth,
    printf('%012d', rid) as path, hash as root_hash
  from msg where parent_hash is null
  union all
  select msg.hash, msg.text, msg.tools, t.depth + 1,
    t.path || '/' || printf('%012d', msg.rid),
    t.root_hash
  from msg join tree t on msg.parent_hash = t.hash
),
turn_chain as (
  select t.id as turn_id, t.datetime_utc, m.hash, m.parent_hash
  from turns t join messages m on m.hash = t.tip_message_hash
  union all
  select tc.turn_id, tc.datetime_utc, m.hash, m.parent_hash
  from turn_chain tc join messages m on m.hash = tc.parent_hash
)
select
  t.root_hash,
  strftime('%Y-%m-%d %H:%M:%S',
    (select min(tc.datetime_utc) from turn_chain tc where tc.hash = t.hash)
  ) as datetime,
  replace(hex(zeroblob(t.depth)), '00', '    ') || substr(t.text, 1, 60)
    as message,
  coalesce(t.tools, '') as tools,
  t.hash as message_hash,
  t.path
from tree t
order by t.path;
COMMIT;
