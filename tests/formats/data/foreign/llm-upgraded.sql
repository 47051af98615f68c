PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "conversations" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "model" TEXT
);
INSERT INTO conversations VALUES('01m7zb670rxzhvxkcnheetewts','Why is the sky blue?','tiny');
INSERT INTO conversations VALUES('01m7zb796avvdpg63jbcpbqc4r','A long fragment text that is bo…','tiny');
INSERT INTO conversations VALUES('01m7zb98pkapgqrw3j95pdk97s','What time is it?','tiny');
CREATE TABLE IF NOT EXISTS "prompt_attachments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "attachment_id")
);
INSERT INTO prompt_attachments VALUES('01m7zb76phy9312vq6k48rg1qv','7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11',0);
CREATE TABLE IF NOT EXISTS "responses" (
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
INSERT INTO responses VALUES('01m7zb64y4dr3x5j3hbjna7f1p','tiny','Why is the sky blue?','Answer briefly.',NULL,NULL,'You said: Why is the sky blue?',NULL,'01m7zb670rxzhvxkcnheetewts',2132,'2026-11-19T15:21:51.300385+00:00',5,2,NULL,NULL,NULL,NULL);
INSERT INTO responses VALUES('01m7zb6gn14m26hp5w84mdm7ev','tiny','And at dusk?',NULL,NULL,NULL,'You said: And at dusk?',NULL,'01m7zb670rxzhvxkcnheetewts',2524,'2026-11-19T15:22:03.297322+00:00',5,2,NULL,NULL,NULL,NULL);
INSERT INTO responses VALUES('01m7zb76phy9312vq6k48rg1qv','tiny','Summarise it',NULL,NULL,NULL,replace('You said: A long fragment text that is borrowed.\nSummarise it ','\n',char(10)),NULL,'01m7zb796avvdpg63jbcpbqc4r',2552,'2026-11-19T15:22:25.873760+00:00',5,2,NULL,NULL,NULL,NULL);
INSERT INTO responses VALUES('01m7zb98qrs2eyp4a3esdzknwx','tiny','What time is it?',NULL,NULL,NULL,'',NULL,'01m7zb98pkapgqrw3j95pdk97s',2050,'2026-11-19T15:23:33.496156+00:00',5,2,NULL,NULL,NULL,NULL);
INSERT INTO responses VALUES('01m7zb9aqtrsew20vww20hfgnc','tiny','',NULL,NULL,NULL,'You said:  15:23:35", "timezone_offset": "UTC+00:00", "is_dst": false}',NULL,'01m7zb98pkapgqrw3j95pdk97s',148,'2026-11-19T15:23:35.546462+00:00',5,2,NULL,NULL,NULL,NULL);
CREATE TABLE IF NOT EXISTS "fragments" (
   "id" INTEGER PRIMARY KEY,
   "hash" TEXT,
   "content" TEXT,
   "datetime_utc" TEXT,
   "source" TEXT
);
INSERT INTO fragments VALUES(1,'0a9cfc8c8d4a47042cd6e43aea07655ac68d72dd29e25d44b8a410d3977776e1','A long fragment text that is borrowed.','2026-11-19 15:22:28','frag.txt');
CREATE TABLE IF NOT EXISTS "prompt_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
INSERT INTO prompt_fragments VALUES('01m7zb76phy9312vq6k48rg1qv',1,0);
CREATE TABLE IF NOT EXISTS "system_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
INSERT INTO system_fragments VALUES('01m7zb76phy9312vq6k48rg1qv',1,0);
CREATE TABLE IF NOT EXISTS "tool_calls" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "arguments" TEXT,
   "tool_call_id" TEXT
);
INSERT INTO tool_calls VALUES(1,'01m7zb98qrs2eyp4a3esdzknwx',1,'llm_time','{}','call_1');
CREATE TABLE IF NOT EXISTS "tool_results" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "output" TEXT,
   "tool_call_id" TEXT,
   "instance_id" INTEGER REFERENCES "tool_instances"("id")
, "exception" TEXT);
INSERT INTO tool_results VALUES(1,'01m7zb9aqtrsew20vww20hfgnc',1,'llm_time','0.26','call_1',NULL,NULL);
CREATE TABLE IF NOT EXISTS "messages" (
   "hash" TEXT PRIMARY KEY,
   "parent_hash" TEXT REFERENCES "messages"("hash"),
   "role" TEXT,
   "provider_metadata" TEXT
);
INSERT INTO messages VALUES('b2:aeccfaaf1c411db38c5dca610fa43dd8',NULL,'system',NULL);
INSERT INTO messages VALUES('b2:94bd842df62d85f1ca7292d6c79e6b31','b2:aeccfaaf1c411db38c5dca610fa43dd8','user',NULL);
INSERT INTO messages VALUES('b2:4647ab3b32e0b01b0950b6a654ae52e3','b2:94bd842df62d85f1ca7292d6c79e6b31','assistant',NULL);
INSERT INTO messages VALUES('b2:a0a9974199b1d4768511c6e2148ce181','b2:4647ab3b32e0b01b0950b6a654ae52e3','user',NULL);
INSERT INTO messages VALUES('b2:084fb99e6357c2f8acc3938ae0308896','b2:a0a9974199b1d4768511c6e2148ce181','assistant',NULL);
INSERT INTO messages VALUES('b2:1c1b2bb2c2ec280b6584aa2ce364a983','b2:084fb99e6357c2f8acc3938ae0308896','user',NULL);
INSERT INTO messages VALUES('b2:cf9353a8db8a0306b65961312aa2aba1','b2:1c1b2bb2c2ec280b6584aa2ce364a983','assistant',NULL);
CREATE TABLE IF NOT EXISTS "parts" (
   "id" INTEGER PRIMARY KEY,
   "message_hash" TEXT REFERENCES "messages"("hash"),
   "position" INTEGER,
   "type" TEXT,
   "tool_name" TEXT,
   "text" TEXT,
   "payload" TEXT
);
INSERT INTO parts VALUES(1,'b2:aeccfaaf1c411db38c5dca610fa43dd8',0,'text',NULL,'Answer briefly.',NULL);
INSERT INTO parts VALUES(2,'b2:94bd842df62d85f1ca7292d6c79e6b31',0,'text',NULL,'Why is the sky blue?',NULL);
INSERT INTO parts VALUES(3,'b2:4647ab3b32e0b01b0950b6a654ae52e3',0,'text',NULL,'You said: Why is the sky blue?',NULL);
INSERT INTO parts VALUES(4,'b2:a0a9974199b1d4768511c6e2148ce181',0,'text',NULL,'And at dusk?',NULL);
INSERT INTO parts VALUES(5,'b2:084fb99e6357c2f8acc3938ae0308896',0,'text',NULL,'You said: And at dusk?',NULL);
INSERT INTO parts VALUES(6,'b2:1c1b2bb2c2ec280b6584aa2ce364a983',0,'text',NULL,'Continued by the new one',NULL);
INSERT INTO parts VALUES(7,'b2:cf9353a8db8a0306b65961312aa2aba1',0,'text',NULL,'You said: Continued by the new one',NULL);
CREATE TABLE IF NOT EXISTS "threads" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "tip_message_hash" TEXT REFERENCES "messages"("hash"),
   "forked_from" TEXT REFERENCES "threads"("id"),
   "datetime_utc" TEXT
);
INSERT INTO threads VALUES('01m7zb670rxzhvxkcnheetewts','Continued by the new one','b2:cf9353a8db8a0306b65961312aa2aba1',NULL,'2026-11-19 15:22:37.394233+00:00');
CREATE TABLE IF NOT EXISTS "turns" (
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
INSERT INTO turns VALUES('01m7zb7hbr7918cjg3spp2qpta','01m7zb670rxzhvxkcnheetewts','b2:1c1b2bb2c2ec280b6584aa2ce364a983','b2:cf9353a8db8a0306b65961312aa2aba1','tiny',NULL,NULL,NULL,5,2,NULL,601,'2026-11-19T15:22:36.792209+00:00',NULL);
COMMIT;
