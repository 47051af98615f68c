PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE chat (
id VARCHAR NOT NULL,
user_id VARCHAR,
title TEXT,
created_at BIGINT,
updated_at BIGINT,
share_id TEXT,
archived BOOLEAN, chat JSON, pinned BOOLEAN, meta JSON DEFAULT '{}' NOT NULL, folder_id TEXT, tasks JSON, summary TEXT, last_read_at BIGINT, current_message_id TEXT, variables JSON, timer_at BIGINT,
PRIMARY KEY (id),
UNIQUE (share_id)
);
INSERT INTO chat VALUES('chat-id-1','u1','Shade garden',1763500040,1763500040,NULL,0,'{"id":"","title":"Shade garden","models":["qwen3:8b"],"params":{"system":"Be brief."},"history":{"messages":{"m1":{"id":"m1","parentId":null,"childrenIds":["m2","m3"],"role":"user","content":"Plants for shade?","files":[{"type":"image","url":"data:image/png;base64,iVBORw0KGgo="}],"timestamp":1763500000,"models":["qwen3:8b","gemma3:4b"]},"m2":{"id":"m2","parentId":"m1","childrenIds":["m4"],"role":"assistant","model":"qwen3:8b","content":"Hosta and fern.","done":true,"timestamp":1763500010,"output":[{"type":"reasoning","id":"r_1","status":"completed","start_tag":"<think>","end_tag":"</think>","content":[{"type":"output_text","text":"Look it up."}],"summary":null,"started_at":1763500010.0,"ended_at":1763500012.0,"duration":2},{"type":"function_call","id":"fc_1","call_id":"c1","name":"find","arguments":"{\"for\": \"shade\"}","status":"completed"},{"type":"function_call_output","id":"fco_1","call_id":"c1","output":[{"type":"input_text","text":"hosta, fern"}],"status":"completed"},{"type":"open_webui:code_interpreter","id":"ci_1","code":"1","status":"completed"},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hosta and fern."}]}]},"m3":{"id":"m3","parentId":"m1","childrenIds":[],"role":"assistant","model":"gemma3:4b","timestamp":1763500011,"modelIdx":1,"content":"<details type=\"reasoning\" done=\"true\" duration=\"2\">\n<summary>Thought for 2 seconds</summary>\n&gt; No &lt;b&gt;.\n&gt; Yes.\n</details>\n<details type=\"tool_calls\" done=\"true\" id=\"c2\" name=\"find\" arguments=\"&quot;{\\&quot;for\\&quot;: \\&quot;shade\\&quot;}&quot;\" result=\"&quot;fern&quot;\" files=\"\">\n<summary>Tool Executed</summary>\n</details>\nFerns."},"m4":{"id":"m4","parentId":"m2","childrenIds":["m5"],"role":"user","content":"Thanks a lot","timestamp":1763500030},"m5":{"role":"assistant","parentId":"m4","model":"qwen3:8b","content":"Welcome.","timestamp":1763500035,"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Welcome."}]}],"id":"m5","childrenIds":[]}},"currentId":"m5"},"messages":[],"tags":[],"timestamp":1763500000000,"files":[]}',0,'{}',NULL,'null',NULL,1763500040,'m5','{}',NULL);
CREATE TABLE chat_message (
id TEXT NOT NULL,
chat_id TEXT NOT NULL,
user_id TEXT,
role TEXT NOT NULL,
parent_id TEXT,
content JSON,
output JSON,
model_id TEXT,
files JSON,
sources JSON,
embeds JSON,
done BOOLEAN,
status_history JSON,
error JSON,
usage JSON,
created_at BIGINT,
updated_at BIGINT, context_summary TEXT, meta JSON,
PRIMARY KEY (id),
FOREIGN KEY(chat_id) REFERENCES chat (id) ON DELETE CASCADE
);
INSERT INTO chat_message VALUES('chat-id-1-m1','chat-id-1','u1','user',NULL,'"Plants for shade?"','null',NULL,'[{"type":"image","url":"data:image/png;base64,iVBORw0KGgo="}]','null','null',1,'null','null','null',1763500000,1763500040,NULL,'null');
INSERT INTO chat_message VALUES('chat-id-1-m2','chat-id-1','u1','assistant','m1','"Hosta and fern."','[{"type":"reasoning","id":"r_1","status":"completed","start_tag":"<think>","end_tag":"</think>","content":[{"type":"output_text","text":"Look it up."}],"summary":null,"started_at":1763500010.0,"ended_at":1763500012.0,"duration":2},{"type":"function_call","id":"fc_1","call_id":"c1","name":"find","arguments":"{\"for\": \"shade\"}","status":"completed"},{"type":"function_call_output","id":"fco_1","call_id":"c1","output":[{"type":"input_text","text":"hosta, fern"}],"status":"completed"},{"type":"open_webui:code_interpreter","id":"ci_1","code":"1","status":"completed"},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hosta and fern."}]}]','qwen3:8b','null','null','null',1,'null','null','null',1763500010,1763500040,NULL,'null');
INSERT INTO chat_message VALUES('chat-id-1-m3','chat-id-1','u1','assistant','m1','"<details type=\"reasoning\" done=\"true\" duration=\"2\">\n<summary>Thought for 2 seconds</summary>\n&gt; No &lt;b&gt;.\n&gt; Yes.\n</details>\n<details type=\"tool_calls\" done=\"true\" id=\"c2\" name=\"find\" arguments=\"&quot;{\\&quot;for\\&quot;: \\&quot;shade\\&quot;}&quot;\" result=\"&quot;fern&quot;\" files=\"\">\n<summary>Tool Executed</summary>\n</details>\nFerns."','null','gemma3:4b','null','null','null',1,'null','null','null',1763500011,1763500040,NULL,'null');
INSERT INTO chat_message VALUES('chat-id-1-m4','chat-id-1','u1','user','m2','"Thanks a lot"','null',NULL,'null','null','null',1,'null','null','null',1763500030,1763500040,NULL,'null');
INSERT INTO chat_message VALUES('chat-id-1-m5','chat-id-1','u1','assistant','m4','"Welcome."','[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Welcome."}]}]','qwen3:8b','null','null','null',1,'null','null','null',1763500035,1763500040,NULL,'null');
INSERT INTO chat (id, user_id, title, chat) VALUES ('copy', 'shared-chat-id-1', 'Shade garden', '{}');
COMMIT;
