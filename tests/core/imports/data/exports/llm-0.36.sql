BEGIN TRANSACTION;
CREATE TABLE "_llm_migrations" (
   "name" TEXT PRIMARY KEY,
   "applied_at" TEXT
);
INSERT INTO "_llm_migrations" VALUES('m001_initial','2026-11-28 00:58:45.766129+00:00');
INSERT INTO "_llm_migrations" VALUES('m002_id_primary_key','2026-11-28 00:58:45.769448+00:00');
INSERT INTO "_llm_migrations" VALUES('m003_chat_id_foreign_key','2026-11-28 00:58:45.776392+00:00');
INSERT INTO "_llm_migrations" VALUES('m004_column_order','2026-11-28 00:58:45.779860+00:00');
INSERT INTO "_llm_migrations" VALUES('m004_drop_provider','2026-11-28 00:58:45.783306+00:00');
INSERT INTO "_llm_migrations" VALUES('m005_debug','2026-11-28 00:58:45.785920+00:00');
INSERT INTO "_llm_migrations" VALUES('m006_new_logs_table','2026-11-28 00:58:45.793424+00:00');
INSERT INTO "_llm_migrations" VALUES('m007_finish_logs_table','2026-11-28 00:58:45.798297+00:00');
INSERT INTO "_llm_migrations" VALUES('m008_reply_to_id_foreign_key','2026-11-28 00:58:45.803849+00:00');
INSERT INTO "_llm_migrations" VALUES('m008_fix_column_order_in_logs','2026-11-28 00:58:45.807983+00:00');
INSERT INTO "_llm_migrations" VALUES('m009_delete_logs_table_if_empty','2026-11-28 00:58:45.809875+00:00');
INSERT INTO "_llm_migrations" VALUES('m010_create_new_log_tables','2026-11-28 00:58:45.812819+00:00');
INSERT INTO "_llm_migrations" VALUES('m012_attachments_tables','2026-11-28 00:58:45.820860+00:00');
INSERT INTO "_llm_migrations" VALUES('m013_usage','2026-11-28 00:58:45.824620+00:00');
INSERT INTO "_llm_migrations" VALUES('m014_schemas','2026-11-28 00:58:45.842246+00:00');
INSERT INTO "_llm_migrations" VALUES('m015_fragments_tables','2026-11-28 00:58:45.848083+00:00');
INSERT INTO "_llm_migrations" VALUES('m016_fragments_table_pks','2026-11-28 00:58:45.855404+00:00');
INSERT INTO "_llm_migrations" VALUES('m017_tools_tables','2026-11-28 00:58:45.861115+00:00');
INSERT INTO "_llm_migrations" VALUES('m017_tools_plugin','2026-11-28 00:58:45.862909+00:00');
INSERT INTO "_llm_migrations" VALUES('m018_tool_instances','2026-11-28 00:58:45.872406+00:00');
INSERT INTO "_llm_migrations" VALUES('m019_resolved_model','2026-11-28 00:58:45.874428+00:00');
INSERT INTO "_llm_migrations" VALUES('m020_tool_results_attachments','2026-11-28 00:58:45.876261+00:00');
INSERT INTO "_llm_migrations" VALUES('m021_tool_results_exception','2026-11-28 00:58:45.877916+00:00');
INSERT INTO "_llm_migrations" VALUES('m022_response_reasoning','2026-11-28 00:58:45.879680+00:00');
INSERT INTO "_llm_migrations" VALUES('m023_message_store','2026-11-28 00:58:45.901723+00:00');
INSERT INTO "_llm_migrations" VALUES('m024_tool_instance_references','2026-11-28 00:58:45.926952+00:00');
INSERT INTO "_llm_migrations" VALUES('m025_turn_tools_instance_backfill','2026-11-28 00:58:45.927910+00:00');
INSERT INTO "_llm_migrations" VALUES('m026_message_tree_view','2026-11-28 00:58:45.929658+00:00');
INSERT INTO "_llm_migrations" VALUES('m027_turns_response_json','2026-11-28 00:58:45.931647+00:00');
CREATE TABLE "attachments" (
   "id" TEXT PRIMARY KEY,
   "type" TEXT,
   "path" TEXT,
   "url" TEXT,
   "content" BLOB
);
INSERT INTO "attachments" VALUES('56819c623a6b61e18633afbd4101dbd02f1dde574e91f2642bd856855287d943','image/png',NULL,'http://127.0.0.1:18093/x.png',NULL);
INSERT INTO "attachments" VALUES('59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15','image/png',NULL,NULL,X'89504E470D0A1A0A0000000D49484452000000080000000808020000004B6D29DC0000001149444154789C633821278715310C2D090090BF4101B29F3E220000000049454E44AE426082');
CREATE TABLE "conversations" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "model" TEXT
);
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
INSERT INTO "fragments" VALUES(1,'74c3c765a39e2d10015e0fd8b5ffb29ca3fe0e8f7fe4a6c27858041f3c50c813','beans in May
','2026-11-28 00:58:50','/home/user/notes.txt');
INSERT INTO "fragments" VALUES(2,'7fe715346b964d9472666ba80c407b7a184f5106fda987351d41dc5d212bf506','def add(a: int, b: int) -> int:
    "Add"
    return a + b
','2026-11-28 00:59:47','/home/user/tools.py');
CREATE TABLE "messages" (
   "hash" TEXT PRIMARY KEY,
   "parent_hash" TEXT REFERENCES "messages"("hash"),
   "role" TEXT,
   "provider_metadata" TEXT
);
INSERT INTO "messages" VALUES('b2:074dea0bd0259e0d5dca16426a45e4f5',NULL,'system',NULL);
INSERT INTO "messages" VALUES('b2:223b5969ca0523c4bd429772842424e6','b2:074dea0bd0259e0d5dca16426a45e4f5','user',NULL);
INSERT INTO "messages" VALUES('b2:c920827755c52425a4f5d57fe2787272','b2:223b5969ca0523c4bd429772842424e6','assistant',NULL);
INSERT INTO "messages" VALUES('b2:c8ab387a478f5d448684a955a3bd5a5e','b2:c920827755c52425a4f5d57fe2787272','user',NULL);
INSERT INTO "messages" VALUES('b2:a2349ad68003d25cd70d5ff1ad451562','b2:c8ab387a478f5d448684a955a3bd5a5e','assistant',NULL);
INSERT INTO "messages" VALUES('b2:878d10ef3a9aed9601a6e08b56b44c54',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:4e5e10faebcc676dc766fd3d01bcc079','b2:878d10ef3a9aed9601a6e08b56b44c54','assistant',NULL);
INSERT INTO "messages" VALUES('b2:e6b742b26820b64c7b55af9af46b4b3f',NULL,'system',NULL);
INSERT INTO "messages" VALUES('b2:990af83bb525e43c5c5fd2140fba7b2a','b2:e6b742b26820b64c7b55af9af46b4b3f','user',NULL);
INSERT INTO "messages" VALUES('b2:21a4b5c85b1a97b3a63334d5d8aa8399','b2:990af83bb525e43c5c5fd2140fba7b2a','assistant',NULL);
INSERT INTO "messages" VALUES('b2:86c581b4428f1fa598dd40fcd0034dad',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:22f9f713a7ba176720fdf5ea8386150c','b2:86c581b4428f1fa598dd40fcd0034dad','assistant',NULL);
INSERT INTO "messages" VALUES('b2:d1332b2f67e074c330c535f9066b1ff6',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:dcbf247dc237ba498e1f4727f641c8f2','b2:d1332b2f67e074c330c535f9066b1ff6','assistant',NULL);
INSERT INTO "messages" VALUES('b2:ae753d8e53d5ea0985443730cf3a2833',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:afed781b5b2a761ea4c2965fc4a52419','b2:ae753d8e53d5ea0985443730cf3a2833','assistant',NULL);
INSERT INTO "messages" VALUES('b2:d015671ce7192626c722340540d8b486','b2:afed781b5b2a761ea4c2965fc4a52419','user',NULL);
INSERT INTO "messages" VALUES('b2:437028e4669ab06926b5ccafe6fe0b9a','b2:d015671ce7192626c722340540d8b486','assistant',NULL);
INSERT INTO "messages" VALUES('b2:5dab7a87c622129b1c2a8ea5fd76459e','b2:437028e4669ab06926b5ccafe6fe0b9a','user',NULL);
INSERT INTO "messages" VALUES('b2:c21b3abe9822aea236c5972765cb2da1','b2:5dab7a87c622129b1c2a8ea5fd76459e','assistant',NULL);
INSERT INTO "messages" VALUES('b2:ab6299ccc27164e29f5cff5247ac49b9',NULL,'system',NULL);
INSERT INTO "messages" VALUES('b2:41a596120ac6b4af858a88f9c2764864','b2:ab6299ccc27164e29f5cff5247ac49b9','user',NULL);
INSERT INTO "messages" VALUES('b2:b804b3c0d4d0d037157c29387758eb5a','b2:41a596120ac6b4af858a88f9c2764864','assistant',NULL);
INSERT INTO "messages" VALUES('b2:c5f7ad5d1a2da956dffbe4ec37d5936e',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:84803ffa63154effe92f19113cc76e34','b2:c5f7ad5d1a2da956dffbe4ec37d5936e','assistant',NULL);
INSERT INTO "messages" VALUES('b2:c78ae45196c324fd63b242fcd478b4a0','b2:d1332b2f67e074c330c535f9066b1ff6','assistant',NULL);
INSERT INTO "messages" VALUES('b2:e25a7f3e283a58521ffae5aca5d2d0dc','b2:c78ae45196c324fd63b242fcd478b4a0','tool',NULL);
INSERT INTO "messages" VALUES('b2:2de3a3a888f1a3b4a81520338d7166a2','b2:e25a7f3e283a58521ffae5aca5d2d0dc','assistant',NULL);
INSERT INTO "messages" VALUES('b2:0d50406a52833f1b5e57610941627b77','b2:2de3a3a888f1a3b4a81520338d7166a2','user',NULL);
INSERT INTO "messages" VALUES('b2:b3bd506613466da920a56bcfe33593d7','b2:0d50406a52833f1b5e57610941627b77','assistant',NULL);
INSERT INTO "messages" VALUES('b2:7ee4f5b1a1f42764be64f560b74c77f3',NULL,'user',NULL);
INSERT INTO "messages" VALUES('b2:d4fa54da8eaf2525b0c8017d3c829547','b2:7ee4f5b1a1f42764be64f560b74c77f3','assistant',NULL);
CREATE TABLE "part_attachments" (
   "part_id" INTEGER REFERENCES "parts"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("part_id", "attachment_id", "order")
);
INSERT INTO "part_attachments" VALUES(16,'59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15',0);
INSERT INTO "part_attachments" VALUES(26,'56819c623a6b61e18633afbd4101dbd02f1dde574e91f2642bd856855287d943',0);
INSERT INTO "part_attachments" VALUES(34,'59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15',0);
CREATE TABLE "part_fragments" (
   "part_id" INTEGER REFERENCES "parts"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("part_id", "fragment_id", "order")
);
INSERT INTO "part_fragments" VALUES(6,1,0);
INSERT INTO "part_fragments" VALUES(22,1,0);
INSERT INTO "part_fragments" VALUES(23,1,0);
INSERT INTO "part_fragments" VALUES(23,2,1);
CREATE TABLE "parts" (
   "id" INTEGER PRIMARY KEY,
   "message_hash" TEXT REFERENCES "messages"("hash"),
   "position" INTEGER,
   "type" TEXT,
   "tool_name" TEXT,
   "text" TEXT,
   "payload" TEXT
);
INSERT INTO "parts" VALUES(1,'b2:074dea0bd0259e0d5dca16426a45e4f5',0,'text',NULL,'Be brief.',NULL);
INSERT INTO "parts" VALUES(2,'b2:223b5969ca0523c4bd429772842424e6',0,'text',NULL,'How far apart are bean rows? 🫘',NULL);
INSERT INTO "parts" VALUES(3,'b2:c920827755c52425a4f5d57fe2787272',0,'text',NULL,'2. **Bean-shaped with curved shape**
3. **Bean-shaped with curved shape**',NULL);
INSERT INTO "parts" VALUES(4,'b2:c8ab387a478f5d448684a955a3bd5a5e',0,'text',NULL,'And peas?',NULL);
INSERT INTO "parts" VALUES(5,'b2:a2349ad68003d25cd70d5ff1ad451562',0,'text',NULL,'2. **Bean-shaped with curved shape**
3. **Bean-shaped with curved shape**',NULL);
INSERT INTO "parts" VALUES(6,'b2:878d10ef3a9aed9601a6e08b56b44c54',0,'text',NULL,NULL,'{"text_ref": [{"fragment": 1}, {"literal": "\nSum it up"}]}');
INSERT INTO "parts" VALUES(7,'b2:4e5e10faebcc676dc766fd3d01bcc079',0,'text',NULL,' is a classic example of a complex problem that requires a deep understanding of logic and reasoning. The problem is that there',NULL);
INSERT INTO "parts" VALUES(8,'b2:e6b742b26820b64c7b55af9af46b4b3f',0,'text',NULL,'beans in May',NULL);
INSERT INTO "parts" VALUES(9,'b2:990af83bb525e43c5c5fd2140fba7b2a',0,'text',NULL,'Use the system fragment',NULL);
INSERT INTO "parts" VALUES(10,'b2:21a4b5c85b1a97b3a63334d5d8aa8399',0,'text',NULL,'2. **Unclear Language**:</frag>
3. **Unclear Explanation**:</frag>
',NULL);
INSERT INTO "parts" VALUES(11,'b2:86c581b4428f1fa598dd40fcd0034dad',0,'text',NULL,'Invent a gardener',NULL);
INSERT INTO "parts" VALUES(12,'b2:22f9f713a7ba176720fdf5ea8386150c',0,'text',NULL,'{
  "name"

: "M.D.",
"age"

: 40

}',NULL);
INSERT INTO "parts" VALUES(13,'b2:d1332b2f67e074c330c535f9066b1ff6',0,'text',NULL,'Add 1 and 2',NULL);
INSERT INTO "parts" VALUES(14,'b2:dcbf247dc237ba498e1f4727f641c8f2',0,'text',NULL,'**: I''m thinking of a function called "add" and it will have two parameters, one for a single number and another for a single argument. This makes it',NULL);
INSERT INTO "parts" VALUES(15,'b2:ae753d8e53d5ea0985443730cf3a2833',0,'text',NULL,'What colour?',NULL);
INSERT INTO "parts" VALUES(16,'b2:ae753d8e53d5ea0985443730cf3a2833',1,'attachment',NULL,NULL,'{"attachment": {"id": "59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15"}}');
INSERT INTO "parts" VALUES(17,'b2:afed781b5b2a761ea4c2965fc4a52419',0,'text',NULL,'Answer to: What colour?  🍂',NULL);
INSERT INTO "parts" VALUES(18,'b2:d015671ce7192626c722340540d8b486',0,'text',NULL,'Sure?',NULL);
INSERT INTO "parts" VALUES(19,'b2:437028e4669ab06926b5ccafe6fe0b9a',0,'text',NULL,'Answer to: Sure? 🍂',NULL);
INSERT INTO "parts" VALUES(20,'b2:5dab7a87c622129b1c2a8ea5fd76459e',0,'text',NULL,'Thanks',NULL);
INSERT INTO "parts" VALUES(21,'b2:c21b3abe9822aea236c5972765cb2da1',0,'text',NULL,'Answer to: Thanks 🍂',NULL);
INSERT INTO "parts" VALUES(22,'b2:ab6299ccc27164e29f5cff5247ac49b9',0,'text',NULL,NULL,'{"text_ref": [{"fragment": 1}, {"literal": "\nSys"}]}');
INSERT INTO "parts" VALUES(23,'b2:41a596120ac6b4af858a88f9c2764864',0,'text',NULL,NULL,'{"text_ref": [{"fragment": 1}, {"literal": "\n"}, {"fragment": 2}, {"literal": "\nTwo fragments"}]}');
INSERT INTO "parts" VALUES(24,'b2:b804b3c0d4d0d037157c29387758eb5a',0,'text',NULL,'Answer to: beans in May

def add(a: int, b: int) -> 🍂',NULL);
INSERT INTO "parts" VALUES(25,'b2:c5f7ad5d1a2da956dffbe4ec37d5936e',0,'text',NULL,'by url',NULL);
INSERT INTO "parts" VALUES(26,'b2:c5f7ad5d1a2da956dffbe4ec37d5936e',1,'attachment',NULL,NULL,'{"attachment": {"id": "56819c623a6b61e18633afbd4101dbd02f1dde574e91f2642bd856855287d943"}}');
INSERT INTO "parts" VALUES(27,'b2:84803ffa63154effe92f19113cc76e34',0,'text',NULL,'Answer to: by url  🍂',NULL);
INSERT INTO "parts" VALUES(28,'b2:c78ae45196c324fd63b242fcd478b4a0',0,'tool_call','add',NULL,'{"name": "add", "arguments": {"a": 1, "b": 2}, "tool_call_id": "c1"}');
INSERT INTO "parts" VALUES(29,'b2:e25a7f3e283a58521ffae5aca5d2d0dc',0,'tool_result','add',NULL,'{"name": "add", "output": "3", "tool_call_id": "c1"}');
INSERT INTO "parts" VALUES(30,'b2:2de3a3a888f1a3b4a81520338d7166a2',0,'text',NULL,'Answer to: 3 🍂',NULL);
INSERT INTO "parts" VALUES(31,'b2:0d50406a52833f1b5e57610941627b77',0,'text',NULL,'Thanks',NULL);
INSERT INTO "parts" VALUES(32,'b2:b3bd506613466da920a56bcfe33593d7',0,'text',NULL,'Answer to: Thanks 🍂',NULL);
INSERT INTO "parts" VALUES(33,'b2:7ee4f5b1a1f42764be64f560b74c77f3',0,'text',NULL,'piped image',NULL);
INSERT INTO "parts" VALUES(34,'b2:7ee4f5b1a1f42764be64f560b74c77f3',1,'attachment',NULL,NULL,'{"attachment": {"id": "59edf55565bcecb9dede3d708fcf92e81ada5391a064bc2bdba46b51fb529e15"}}');
INSERT INTO "parts" VALUES(35,'b2:d4fa54da8eaf2525b0c8017d3c829547',0,'text',NULL,'Answer to: piped image  🍂',NULL);
CREATE TABLE "prompt_attachments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "attachment_id")
);
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
CREATE TABLE "schemas" (
   "id" TEXT PRIMARY KEY,
   "content" TEXT
);
INSERT INTO "schemas" VALUES('848bffbc260a905ad40888a4518f40ef','{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"]}');
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
INSERT INTO "threads" VALUES('01m8ftjt9ppbse30e1hrexq3b7','How far apart are bean rows? 🫘','b2:a2349ad68003d25cd70d5ff1ad451562',NULL,'2026-11-28 00:58:46.495819+00:00');
INSERT INTO "threads" VALUES('01m8ftjy76yp9mwr39ga7mpc3r','beans in May Sum it up','b2:4e5e10faebcc676dc766fd3d01bcc079',NULL,'2026-11-28 00:58:50.653494+00:00');
INSERT INTO "threads" VALUES('01m8ftk05dgb4d1r4g6ctmgcff','Use the system fragment','b2:21a4b5c85b1a97b3a63334d5d8aa8399',NULL,'2026-11-28 00:58:52.528589+00:00');
INSERT INTO "threads" VALUES('01m8ftk2jn9c8s303nh1syhg8m','Invent a gardener','b2:22f9f713a7ba176720fdf5ea8386150c',NULL,'2026-11-28 00:58:56.092638+00:00');
INSERT INTO "threads" VALUES('01m8ftk6p689h3xkkrq0s0f459','Add 1 and 2','b2:dcbf247dc237ba498e1f4727f641c8f2',NULL,'2026-11-28 00:58:59.793882+00:00');
INSERT INTO "threads" VALUES('01m8ftm3099ekt1n7gze45qnb7','What colour?','b2:c21b3abe9822aea236c5972765cb2da1',NULL,'2026-11-28 00:59:27.770929+00:00');
INSERT INTO "threads" VALUES('01m8ftmp3avtgrn7k5f7gdgcp3','beans in May def add(a: int, b:…','b2:b804b3c0d4d0d037157c29387758eb5a',NULL,'2026-11-28 00:59:47.663608+00:00');
INSERT INTO "threads" VALUES('01m8ftmv5a3687dv7zcs15ccyc','by url','b2:84803ffa63154effe92f19113cc76e34',NULL,'2026-11-28 00:59:52.850732+00:00');
INSERT INTO "threads" VALUES('01m8ftp3f2nvjvj6ezsjb610a2','Add 1 and 2','b2:b3bd506613466da920a56bcfe33593d7',NULL,'2026-11-28 01:00:34.431447+00:00');
INSERT INTO "threads" VALUES('01m8ftpf9fdcdcatrte2kgh7s9','piped image','b2:d4fa54da8eaf2525b0c8017d3c829547',NULL,'2026-11-28 01:00:46.319447+00:00');
CREATE TABLE "tool_calls" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "arguments" TEXT,
   "tool_call_id" TEXT
);
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
CREATE TABLE "tool_results" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "output" TEXT,
   "tool_call_id" TEXT,
   "instance_id" INTEGER REFERENCES "tool_instances"("id")
, "exception" TEXT);
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
INSERT INTO "turn_fragments" VALUES('01m8ftjy78p7qe7jwm4sfwzqgd',1,0,'prompt');
INSERT INTO "turn_fragments" VALUES('01m8ftk05e3xq9pvymx3fqte7q',1,0,'system');
INSERT INTO "turn_fragments" VALUES('01m8ftmp3ce4ehxdtvwfqvgtgs',1,0,'prompt');
INSERT INTO "turn_fragments" VALUES('01m8ftmp3ce4ehxdtvwfqvgtgs',2,1,'prompt');
INSERT INTO "turn_fragments" VALUES('01m8ftmp3ce4ehxdtvwfqvgtgs',1,0,'system');
CREATE TABLE "turn_search" (
   "id" INTEGER PRIMARY KEY,
   "turn_id" TEXT REFERENCES "turns"("id"),
   "prompt" TEXT,
   "response" TEXT
);
INSERT INTO "turn_search" VALUES(1,'01m8ftjt9qx2zaran15np6v424','How far apart are bean rows? 🫘','2. **Bean-shaped with curved shape**
3. **Bean-shaped with curved shape**');
INSERT INTO "turn_search" VALUES(2,'01m8ftjw3t666xa89pfhjf74ph','And peas?','2. **Bean-shaped with curved shape**
3. **Bean-shaped with curved shape**');
INSERT INTO "turn_search" VALUES(3,'01m8ftjy78p7qe7jwm4sfwzqgd','
Sum it up',' is a classic example of a complex problem that requires a deep understanding of logic and reasoning. The problem is that there');
INSERT INTO "turn_search" VALUES(4,'01m8ftk05e3xq9pvymx3fqte7q','Use the system fragment','2. **Unclear Language**:</frag>
3. **Unclear Explanation**:</frag>
');
INSERT INTO "turn_search" VALUES(5,'01m8ftk2jqy8rvcyf0jg5pwbpp','Invent a gardener','{
  "name"

: "M.D.",
"age"

: 40

}');
INSERT INTO "turn_search" VALUES(6,'01m8ftk6p8q97nr5nx0wv8n8q1','Add 1 and 2','**: I''m thinking of a function called "add" and it will have two parameters, one for a single number and another for a single argument. This makes it');
INSERT INTO "turn_search" VALUES(7,'01m8ftm30a63hmnc25x4tc939r','What colour?','Answer to: What colour?  🍂');
INSERT INTO "turn_search" VALUES(8,'01m8ftm4ernbsffr8acryexfky','Sure?','Answer to: Sure? 🍂');
INSERT INTO "turn_search" VALUES(9,'01m8ftm8vfcp8fb6sdx0ry9jzc','Thanks','Answer to: Thanks 🍂');
INSERT INTO "turn_search" VALUES(10,'01m8ftmp3ce4ehxdtvwfqvgtgs','

Two fragments','Answer to: beans in May

def add(a: int, b: int) -> 🍂');
INSERT INTO "turn_search" VALUES(11,'01m8ftmv5bjt3rx1x0nqywd8qg','by url','Answer to: by url  🍂');
INSERT INTO "turn_search" VALUES(12,'01m8ftp3f92rwbwtnd7hdf1esh','Add 1 and 2','');
INSERT INTO "turn_search" VALUES(13,'01m8ftp45a09e4sva14jgaxka8','','Answer to: 3 🍂');
INSERT INTO "turn_search" VALUES(14,'01m8ftp9aarrtebn635hmsdngz','Thanks','Answer to: Thanks 🍂');
INSERT INTO "turn_search" VALUES(15,'01m8ftpf9sbbfgabv2c9kq8nfm','piped image','Answer to: piped image  🍂');
CREATE TABLE "turn_tools" (
   "turn_id" TEXT REFERENCES "turns"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "instance_id" INTEGER REFERENCES "tool_instances"("id"),
   PRIMARY KEY ("turn_id", "tool_id")
);
INSERT INTO "turn_tools" VALUES('01m8ftk6p8q97nr5nx0wv8n8q1',1,NULL);
INSERT INTO "turn_tools" VALUES('01m8ftp3f92rwbwtnd7hdf1esh',1,NULL);
INSERT INTO "turn_tools" VALUES('01m8ftp45a09e4sva14jgaxka8',1,NULL);
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
INSERT INTO "turns" VALUES('01m8ftjt9qx2zaran15np6v424','01m8ftjt9ppbse30e1hrexq3b7','b2:223b5969ca0523c4bd429772842424e6','b2:c920827755c52425a4f5d57fe2787272','smol',NULL,'{"max_tokens": 40}',NULL,50,32,'{"prompt_tokens_details": {"cached_tokens": 49}}',551,'2026-11-28T00:58:45.943991+00:00','{"content": {"$": "0.0.text"}, "finish_reason": "stop", "usage": {"completion_tokens": 32, "prompt_tokens": 50, "total_tokens": 82, "prompt_tokens_details": {"cached_tokens": 49}}, "id": "chatcmpl-elD8tAnLlAZB4lSmcekxJEhgXQhcZClq", "object": "chat.completion.chunk", "model": "smollm2-135m-instruct", "created": 1795827526}');
INSERT INTO "turns" VALUES('01m8ftjw3t666xa89pfhjf74ph','01m8ftjt9ppbse30e1hrexq3b7','b2:c8ab387a478f5d448684a955a3bd5a5e','b2:a2349ad68003d25cd70d5ff1ad451562','smol',NULL,'{"max_tokens": 40}',NULL,87,32,'{"prompt_tokens_details": {"cached_tokens": 27}}',884,'2026-11-28T00:58:47.802478+00:00','{"content": {"$": "0.0.text"}, "finish_reason": "stop", "usage": {"completion_tokens": 32, "prompt_tokens": 87, "total_tokens": 119, "prompt_tokens_details": {"cached_tokens": 27}}, "id": "chatcmpl-wXinqD9oLS47E7swTVgChxXIIO0EVGsh", "object": "chat.completion.chunk", "model": "smollm2-135m-instruct", "created": 1795827528}');
INSERT INTO "turns" VALUES('01m8ftjy78p7qe7jwm4sfwzqgd','01m8ftjy76yp9mwr39ga7mpc3r','b2:878d10ef3a9aed9601a6e08b56b44c54','b2:4e5e10faebcc676dc766fd3d01bcc079','smol',NULL,'{"max_tokens": 30}',NULL,40,30,'{"prompt_tokens_details": {"cached_tokens": 1}}',692,'2026-11-28T00:58:49.960101+00:00','{"content": {"$": "0.0.text"}, "finish_reason": "length", "usage": {"completion_tokens": 30, "prompt_tokens": 40, "total_tokens": 70, "prompt_tokens_details": {"cached_tokens": 1}}, "id": "chatcmpl-j9RBDNjbUh1D5uOh7WygZJuZkEbPbHpk", "object": "chat.completion.chunk", "model": "smollm2-135m-instruct", "created": 1795827530}');
INSERT INTO "turns" VALUES('01m8ftk05e3xq9pvymx3fqte7q','01m8ftk05dgb4d1r4g6ctmgcff','b2:990af83bb525e43c5c5fd2140fba7b2a','b2:21a4b5c85b1a97b3a63334d5d8aa8399','smol',NULL,'{"max_tokens": 30}',NULL,44,30,'{"prompt_tokens_details": {"cached_tokens": 43}}',577,'2026-11-28T00:58:51.950976+00:00','{"content": {"$": "0.0.text"}, "finish_reason": "length", "usage": {"completion_tokens": 30, "prompt_tokens": 44, "total_tokens": 74, "prompt_tokens_details": {"cached_tokens": 43}}, "id": "chatcmpl-Xjy23JYqUAJQo01GOHyFagCFwETYGusV", "object": "chat.completion.chunk", "model": "smollm2-135m-instruct", "created": 1795827532}');
INSERT INTO "turns" VALUES('01m8ftk2jqy8rvcyf0jg5pwbpp','01m8ftk2jn9c8s303nh1syhg8m','b2:86c581b4428f1fa598dd40fcd0034dad','b2:22f9f713a7ba176720fdf5ea8386150c','smol',NULL,'{"max_tokens": 60}','848bffbc260a905ad40888a4518f40ef',36,59,'{"prompt_tokens_details": {"cached_tokens": 35}}',1668,'2026-11-28T00:58:54.423076+00:00','{"content": "{\n  \"name\"\n\n: \"M.D.\",\n\"age\"\n\n: 40\n\n}", "finish_reason": "stop", "usage": {"completion_tokens": 59, "prompt_tokens": 36, "total_tokens": 95, "prompt_tokens_details": {"cached_tokens": 35}}, "id": "chatcmpl-OOODjHSHvnnzLe73jrccOrCkzFMXeCWU", "object": "chat.completion.chunk", "model": "smollm2-135m-instruct", "created": 1795827534}');
INSERT INTO "turns" VALUES('01m8ftk6p8q97nr5nx0wv8n8q1','01m8ftk6p689h3xkkrq0s0f459','b2:d1332b2f67e074c330c535f9066b1ff6','b2:dcbf247dc237ba498e1f4727f641c8f2','smol',NULL,'{"max_tokens": 40}',NULL,192,40,'{"prompt_tokens_details": {"cached_tokens": 191}}',1160,'2026-11-28T00:58:58.632731+00:00','{"content": {"$": "0.0.text"}, "finish_reason": "length", "usage": {"completion_tokens": 40, "prompt_tokens": 192, "total_tokens": 232, "prompt_tokens_details": {"cached_tokens": 191}}, "id": "chatcmpl-mzT9bRvqFhZXc0wCuR3gtBoCijeyVfK5", "object": "chat.completion.chunk", "model": "smollm2-135m-instruct", "created": 1795827538}');
INSERT INTO "turns" VALUES('01m8ftm30a63hmnc25x4tc939r','01m8ftm3099ekt1n7gze45qnb7','b2:ae753d8e53d5ea0985443730cf3a2833','b2:afed781b5b2a761ea4c2965fc4a52419','fake',NULL,NULL,NULL,NULL,NULL,NULL,143,'2026-11-28T00:59:27.626271+00:00','{"content": "Answer to: What colour?  \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftm4ernbsffr8acryexfky','01m8ftm3099ekt1n7gze45qnb7','b2:d015671ce7192626c722340540d8b486','b2:437028e4669ab06926b5ccafe6fe0b9a','fake',NULL,NULL,NULL,NULL,NULL,NULL,233,'2026-11-28T00:59:29.112066+00:00','{"content": "Answer to: Sure? \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftm8vfcp8fb6sdx0ry9jzc','01m8ftm3099ekt1n7gze45qnb7','b2:5dab7a87c622129b1c2a8ea5fd76459e','b2:c21b3abe9822aea236c5972765cb2da1','fake',NULL,NULL,NULL,NULL,NULL,NULL,314,'2026-11-28T00:59:33.615104+00:00','{"content": "Answer to: Thanks \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftmp3ce4ehxdtvwfqvgtgs','01m8ftmp3avtgrn7k5f7gdgcp3','b2:41a596120ac6b4af858a88f9c2764864','b2:b804b3c0d4d0d037157c29387758eb5a','fake',NULL,NULL,NULL,NULL,NULL,NULL,482,'2026-11-28T00:59:47.180398+00:00','{"content": "Answer to: beans in May\n\ndef add(a: int, b: int) -> \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftmv5bjt3rx1x0nqywd8qg','01m8ftmv5a3687dv7zcs15ccyc','b2:c5f7ad5d1a2da956dffbe4ec37d5936e','b2:84803ffa63154effe92f19113cc76e34','fake',NULL,NULL,NULL,NULL,NULL,NULL,480,'2026-11-28T00:59:52.363458+00:00','{"content": "Answer to: by url  \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftp3f92rwbwtnd7hdf1esh','01m8ftp3f2nvjvj6ezsjb610a2','b2:d1332b2f67e074c330c535f9066b1ff6','b2:c78ae45196c324fd63b242fcd478b4a0','fake',NULL,NULL,NULL,NULL,NULL,NULL,705,'2026-11-28T01:00:33.641417+00:00','{"content": "", "finish_reason": "tool_calls", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftp45a09e4sva14jgaxka8','01m8ftp3f2nvjvj6ezsjb610a2','b2:e25a7f3e283a58521ffae5aca5d2d0dc','b2:2de3a3a888f1a3b4a81520338d7166a2','fake',NULL,NULL,NULL,NULL,NULL,NULL,84,'2026-11-28T01:00:34.346642+00:00','{"content": "Answer to: 3 \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftp9aarrtebn635hmsdngz','01m8ftp3f2nvjvj6ezsjb610a2','b2:0d50406a52833f1b5e57610941627b77','b2:b3bd506613466da920a56bcfe33593d7','fake',NULL,NULL,NULL,NULL,NULL,NULL,532,'2026-11-28T01:00:39.626140+00:00','{"content": "Answer to: Thanks \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
INSERT INTO "turns" VALUES('01m8ftpf9sbbfgabv2c9kq8nfm','01m8ftpf9fdcdcatrte2kgh7s9','b2:7ee4f5b1a1f42764be64f560b74c77f3','b2:d4fa54da8eaf2525b0c8017d3c829547','fake',NULL,NULL,NULL,NULL,NULL,NULL,565,'2026-11-28T01:00:45.753159+00:00','{"content": "Answer to: piped image  \ud83c\udf42", "finish_reason": "stop", "id": "x", "object": "chat.completion.chunk", "model": "fake-1", "created": 1}');
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
