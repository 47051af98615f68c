PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "fragments" (
   "id" INTEGER PRIMARY KEY,
   "hash" TEXT,
   "content" TEXT,
   "datetime_utc" TEXT,
   "source" TEXT
);
INSERT INTO fragments VALUES(1,'0a9cfc8c8d4a47042cd6e43aea07655ac68d72dd29e25d44b8a410d3977776e1','A long fragment text that is borrowed.','2026-11-19 15:32:32','frag.txt');
CREATE TABLE IF NOT EXISTS "messages" (
   "hash" TEXT PRIMARY KEY,
   "parent_hash" TEXT REFERENCES "messages"("hash"),
   "role" TEXT,
   "provider_metadata" TEXT
);
INSERT INTO messages VALUES('b2:aeccfaaf1c411db38c5dca610fa43dd8',NULL,'system',NULL);
INSERT INTO messages VALUES('b2:94bd842df62d85f1ca7292d6c79e6b31','b2:aeccfaaf1c411db38c5dca610fa43dd8','user',NULL);
INSERT INTO messages VALUES('b2:4647ab3b32e0b01b0950b6a654ae52e3','b2:94bd842df62d85f1ca7292d6c79e6b31','assistant',NULL);
INSERT INTO messages VALUES('b2:ea46afe21a785905174891a3975edf04',NULL,'user',NULL);
INSERT INTO messages VALUES('b2:8dab9118e9bce6bf5f038b298c081c74','b2:ea46afe21a785905174891a3975edf04','assistant',NULL);
INSERT INTO messages VALUES('b2:3fb4a511a3fffe6f52909180f6a3a455','b2:8dab9118e9bce6bf5f038b298c081c74','tool',NULL);
INSERT INTO messages VALUES('b2:7809b97ff0c670e35d01f485f633e0c4','b2:3fb4a511a3fffe6f52909180f6a3a455','assistant',NULL);
INSERT INTO messages VALUES('b2:c36abf81b34d6e9759c0a1f011a2a8a0',NULL,'user',NULL);
INSERT INTO messages VALUES('b2:fa10c2c0edca383795364fcf3d559ea3','b2:c36abf81b34d6e9759c0a1f011a2a8a0','assistant',NULL);
INSERT INTO messages VALUES('b2:ea97e7bcbb89f8aabb980f4c5d6d9164',NULL,'user',NULL);
INSERT INTO messages VALUES('b2:cd94d84346487e2cce7b6f48f7cf7d98','b2:ea97e7bcbb89f8aabb980f4c5d6d9164','assistant',NULL);
INSERT INTO messages VALUES('b2:a5a3b2c1961402f2efae85b660748970','b2:cd94d84346487e2cce7b6f48f7cf7d98','user',NULL);
INSERT INTO messages VALUES('b2:37603ca38365a872197a4522dedbc99a','b2:a5a3b2c1961402f2efae85b660748970','assistant',NULL);
INSERT INTO messages VALUES('b2:ed128e4d200064615d02cb4eeeb1b851','b2:cd94d84346487e2cce7b6f48f7cf7d98','user',NULL);
INSERT INTO messages VALUES('b2:6d65cf9f5de369fd211cd91dce063932','b2:ed128e4d200064615d02cb4eeeb1b851','assistant',NULL);
INSERT INTO messages VALUES('b2:717293efee620fdac9f9699d0151f092',NULL,'user',NULL);
INSERT INTO messages VALUES('b2:bc64870bfd68c833d027022e9b8c2262','b2:717293efee620fdac9f9699d0151f092','assistant',NULL);
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
INSERT INTO parts VALUES(4,'b2:ea46afe21a785905174891a3975edf04',0,'text',NULL,'Which version?',NULL);
INSERT INTO parts VALUES(5,'b2:8dab9118e9bce6bf5f038b298c081c74',0,'tool_call','llm_version',NULL,'{"name": "llm_version", "arguments": {}, "tool_call_id": "call_1"}');
INSERT INTO parts VALUES(6,'b2:3fb4a511a3fffe6f52909180f6a3a455',0,'tool_result','llm_version',NULL,'{"name": "llm_version", "output": "0.36", "tool_call_id": "call_1"}');
INSERT INTO parts VALUES(7,'b2:7809b97ff0c670e35d01f485f633e0c4',0,'text',NULL,'You said: 0.36',NULL);
INSERT INTO parts VALUES(8,'b2:c36abf81b34d6e9759c0a1f011a2a8a0',0,'text',NULL,NULL,'{"text_ref": [{"fragment": 1}, {"literal": "\nSummarise it"}]}');
INSERT INTO parts VALUES(9,'b2:c36abf81b34d6e9759c0a1f011a2a8a0',1,'attachment',NULL,NULL,'{"attachment": {"id": "7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11"}}');
INSERT INTO parts VALUES(10,'b2:fa10c2c0edca383795364fcf3d559ea3',0,'text',NULL,replace('You said: A long fragment text that is borrowed.\nSummarise it ','\n',char(10)),NULL);
INSERT INTO parts VALUES(11,'b2:ea97e7bcbb89f8aabb980f4c5d6d9164',0,'text',NULL,'Name a colour',NULL);
INSERT INTO parts VALUES(12,'b2:cd94d84346487e2cce7b6f48f7cf7d98',0,'text',NULL,'You said: Name a colour',NULL);
INSERT INTO parts VALUES(13,'b2:a5a3b2c1961402f2efae85b660748970',0,'text',NULL,'And another',NULL);
INSERT INTO parts VALUES(14,'b2:37603ca38365a872197a4522dedbc99a',0,'text',NULL,'You said: And another',NULL);
INSERT INTO parts VALUES(15,'b2:ed128e4d200064615d02cb4eeeb1b851',0,'text',NULL,'A warm one',NULL);
INSERT INTO parts VALUES(16,'b2:6d65cf9f5de369fd211cd91dce063932',0,'text',NULL,'You said: A warm one',NULL);
INSERT INTO parts VALUES(17,'b2:717293efee620fdac9f9699d0151f092',0,'text',NULL,'Think',NULL);
INSERT INTO parts VALUES(18,'b2:bc64870bfd68c833d027022e9b8c2262',0,'reasoning',NULL,'Hm.',NULL);
INSERT INTO parts VALUES(19,'b2:bc64870bfd68c833d027022e9b8c2262',1,'text',NULL,'Done.',NULL);
CREATE TABLE IF NOT EXISTS "threads" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "tip_message_hash" TEXT REFERENCES "messages"("hash"),
   "forked_from" TEXT REFERENCES "threads"("id"),
   "datetime_utc" TEXT
);
INSERT INTO threads VALUES('01m7zbse6dxmd306xsgq3c6fsj','Why is the sky blue?','b2:4647ab3b32e0b01b0950b6a654ae52e3',NULL,'2026-11-19 15:32:23.724671+00:00');
INSERT INTO threads VALUES('01m7zbshyt2gvx935kdwhgz27c','Which version?','b2:7809b97ff0c670e35d01f485f633e0c4',NULL,'2026-11-19 15:32:27.761288+00:00');
INSERT INTO threads VALUES('01m7zbsph20fr381sspz3202y6','A long fragment text that is bo…','b2:fa10c2c0edca383795364fcf3d559ea3',NULL,'2026-11-19 15:32:32.209835+00:00');
INSERT INTO threads VALUES('01m7zbstse9z8jdzfgv2k7m6k5','Name a colour','b2:37603ca38365a872197a4522dedbc99a',NULL,'2026-11-19 15:32:36.700709+00:00');
INSERT INTO threads VALUES('01m7zbsvgj81t2d5v5y67bj17k','','b2:6d65cf9f5de369fd211cd91dce063932',NULL,'2026-11-19 15:32:37.010680+00:00');
INSERT INTO threads VALUES('01m7zbsvhq757pj4v7dfhe4pp5','Thoughts','b2:bc64870bfd68c833d027022e9b8c2262',NULL,'2026-11-19 15:32:37.047904+00:00');
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
INSERT INTO turns VALUES('01m7zbse6esgzmzey2s4mn84k0','01m7zbse6dxmd306xsgq3c6fsj','b2:94bd842df62d85f1ca7292d6c79e6b31','b2:4647ab3b32e0b01b0950b6a654ae52e3','tiny',NULL,NULL,NULL,5,2,NULL,349,'2026-11-19T15:32:23.374780+00:00',NULL);
INSERT INTO turns VALUES('01m7zbshz7qcac847ajyxavkvx','01m7zbshyt2gvx935kdwhgz27c','b2:ea46afe21a785905174891a3975edf04','b2:8dab9118e9bce6bf5f038b298c081c74','tiny',NULL,NULL,NULL,5,2,NULL,377,'2026-11-19T15:32:27.239685+00:00',NULL);
INSERT INTO turns VALUES('01m7zbsjb7fgaj7e930t2g40ja','01m7zbshyt2gvx935kdwhgz27c','b2:3fb4a511a3fffe6f52909180f6a3a455','b2:7809b97ff0c670e35d01f485f633e0c4','tiny',NULL,NULL,NULL,5,2,NULL,136,'2026-11-19T15:32:27.623765+00:00',NULL);
INSERT INTO turns VALUES('01m7zbsph8qs34k1rmm2qjp18b','01m7zbsph20fr381sspz3202y6','b2:c36abf81b34d6e9759c0a1f011a2a8a0','b2:fa10c2c0edca383795364fcf3d559ea3','tiny',NULL,NULL,NULL,5,2,NULL,296,'2026-11-19T15:32:31.912921+00:00',NULL);
INSERT INTO turns VALUES('01m7zbstse9z8jdzfgv2k7m6k6','01m7zbstse9z8jdzfgv2k7m6k5','b2:ea97e7bcbb89f8aabb980f4c5d6d9164','b2:cd94d84346487e2cce7b6f48f7cf7d98','tiny',NULL,NULL,NULL,5,2,NULL,428,'2026-11-19T15:32:36.270933+00:00',NULL);
INSERT INTO turns VALUES('01m7zbsv8e1gvbpb9j7jp4ses7','01m7zbstse9z8jdzfgv2k7m6k5','b2:a5a3b2c1961402f2efae85b660748970','b2:37603ca38365a872197a4522dedbc99a','tiny',NULL,NULL,NULL,5,2,NULL,104,'2026-11-19T15:32:36.750554+00:00',NULL);
INSERT INTO turns VALUES('01m7zbsvd3qb6qbkwzky4n5z6v','01m7zbsvgj81t2d5v5y67bj17k','b2:ed128e4d200064615d02cb4eeeb1b851','b2:6d65cf9f5de369fd211cd91dce063932','tiny',NULL,NULL,NULL,5,2,NULL,110,'2026-11-19T15:32:36.899731+00:00',NULL);
CREATE TABLE "attachments" ("id" TEXT PRIMARY KEY, "type" TEXT, "path" TEXT, "url" TEXT, "content" BLOB);
INSERT INTO attachments VALUES('7343d363d427f598455ae5f102d2f7e8c95efa14a6f454b8acc352c9458cac11','image/png',NULL,NULL,X'89504E470D0A1A0A');
COMMIT;
