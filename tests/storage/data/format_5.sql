pragma user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE drafts (session_id text primary key not null, text text not null);
INSERT INTO "drafts" VALUES('','half a thought');
CREATE TABLE ledger (
            ledger_id integer primary key,
            created_at text not null,
            message_id text not null,
            endpoint text not null,
            product text not null,
            model text not null,
            quantization text not null,
            state text not null,
            ttft_ms real,
            prompt_tokens_per_second real,
            tokens_per_second real,
            prompt_tokens integer,
            completion_tokens integer,
            is_estimated integer not null,
            stalls integer not null,
            retries integer not null,
            elapsed_ms real not null,
            finish_reason text not null
        );
INSERT INTO "ledger" VALUES(1,'2026-11-20T08:00:09.000000+00:00','m','http://127.0.0.1:1234','LM Studio','qwen3-8b','Q4_K_M','complete',210.0,NULL,42.0,12,312,0,0,0,4100.0,'stop');
CREATE TABLE messages (
            number integer primary key autoincrement,
            message_id text not null unique,
            session_id text not null references sessions (session_id) on delete cascade,
            parent_id text,
            role text not null,
            state text not null,
            created_at text not null,
            model text not null default '',
            endpoint text not null default '',
            receipt text,
            failure text,
            owner text,
            hidden_by text,
            hidden_at text,
            is_indexed integer not null default 0
        , branch text not null default '');
INSERT INTO "messages" VALUES(1,'00000000000000b1','00000000000000a1',NULL,'user','complete','2026-11-20T08:00:00.000000+00:00','','',NULL,NULL,NULL,NULL,NULL,1,'');
INSERT INTO "messages" VALUES(2,'00000000000000b2','00000000000000a1','00000000000000b1','assistant','complete','2026-11-20T08:00:00.000000+00:00','qwen3-8b','http://127.0.0.1:1234','{"ttft_ms": 210.0, "tokens_per_second": 42.0, "prompt_tokens": null, "completion_tokens": 312, "is_estimated": false, "elapsed_ms": 4100.0, "reasoning_ms": null, "finish_reason": "stop", "retries": 0}',NULL,NULL,NULL,NULL,1,'with lettuce');
INSERT INTO "messages" VALUES(3,'00000000000000b3','00000000000000a1','00000000000000b1','assistant','streaming','2026-11-20T08:00:00.000000+00:00','qwen3-8b','http://127.0.0.1:1234',NULL,NULL,'1@gone',NULL,NULL,0,'');
INSERT INTO "messages" VALUES(4,'00000000000000b4','00000000000000a1','00000000000000b1','assistant','interrupted','2026-11-20T08:00:00.000000+00:00','qwen3-8b','http://127.0.0.1:1234','{"ttft_ms": null, "tokens_per_second": null, "prompt_tokens": null, "completion_tokens": 3, "is_estimated": false, "elapsed_ms": 0.0, "reasoning_ms": null, "finish_reason": "", "retries": 0}','{"kind": "offline", "message": "The server went away.", "hint": "Start it.", "details": "", "failure_id": ""}',NULL,'00000000000000b4','2026-11-20T08:00:07.000000+00:00',1,'');
INSERT INTO "messages" VALUES(5,'00000000000000b5','00000000000000a2',NULL,'user','complete','2026-11-20T08:00:00.000000+00:00','','',NULL,NULL,NULL,NULL,NULL,1,'');
CREATE TABLE metrics (name text primary key not null, value real not null);
INSERT INTO "metrics" VALUES('total_requests',3.0);
CREATE TABLE parts (
            part_id integer primary key autoincrement,
            number integer not null references messages (number) on delete cascade,
            kind text not null,
            text text not null,
            call_id text not null default '',
            name text not null default ''
        );
INSERT INTO "parts" VALUES(1,1,'text','Which vegetables grow in shade?','','');
INSERT INTO "parts" VALUES(2,2,'reasoning','Let me think.','','');
INSERT INTO "parts" VALUES(3,2,'text','Lettuce.','','');
INSERT INTO "parts" VALUES(4,2,'tool_call','{"q": 1}','c1','look_up');
INSERT INTO "parts" VALUES(5,4,'text','Gone','','');
INSERT INTO "parts" VALUES(6,5,'text','Old trash','','');
CREATE TABLE pieces (
            piece_id integer primary key,
            number integer not null references messages (number) on delete cascade,
            kind text not null,
            text text not null
        );
INSERT INTO "pieces" VALUES(1,3,'reasoning','Hm');
INSERT INTO "pieces" VALUES(2,3,'text','Spi');
INSERT INTO "pieces" VALUES(3,3,'text','nach');
CREATE TABLE sessions (
            session_id text primary key not null,
            title text not null default '',
            created_at text not null,
            updated_at text not null,
            model text not null default '',
            endpoint text not null default '',
            is_pinned integer not null default 0,
            is_archived integer not null default 0,
            deleted_at text,
            parent_id text,
            leaf_id text
        , tags text not null default '', place text not null default '', sampling text not null default '');
INSERT INTO "sessions" VALUES('00000000000000a1','Which vegetables grow in shade?','2026-11-20T08:00:00.000000+00:00','2026-11-20T08:00:06.000000+00:00','qwen3-8b','http://127.0.0.1:1234',1,0,NULL,NULL,'00000000000000b3','garden plans','00000000000000b1 3','{"seed": 7}');
INSERT INTO "sessions" VALUES('00000000000000a2','Old trash','2026-11-20T08:00:00.000000+00:00','2026-11-20T08:00:08.000000+00:00','','',0,0,'2026-11-20T08:00:00.000000+00:00',NULL,'00000000000000b5','','','');
CREATE INDEX sessions_by_time on sessions (updated_at);
CREATE INDEX messages_by_parent on messages (parent_id);
CREATE INDEX messages_by_session on messages (session_id, hidden_by);
CREATE INDEX messages_streaming on messages (state) where state = 'streaming';
CREATE INDEX messages_not_indexed on messages (number) where is_indexed = 0;
CREATE INDEX parts_by_message on parts (number);
CREATE INDEX sessions_in_list on sessions (is_archived, is_pinned, updated_at)
            where deleted_at is null;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',5);
INSERT INTO "sqlite_sequence" VALUES('parts',6);
COMMIT;
