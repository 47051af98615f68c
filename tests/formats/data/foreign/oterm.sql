PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "chat" (
 "id" INTEGER,
 "name" TEXT,
 "model" TEXT NOT NULL,
 "system" TEXT,
 "provider" TEXT DEFAULT "ollama",
 "parameters" TEXT DEFAULT "{}",
 "tools" TEXT DEFAULT "[]",
 "thinking" BOOLEAN DEFAULT 0,
 PRIMARY KEY("id" AUTOINCREMENT)
 );
INSERT INTO chat VALUES(1,'Sky','tiny','Answer briefly.','openai-compatible/local','{"temperature": 0.5}','[]',1);
INSERT INTO chat VALUES(2,'chat #2 - tiny','tiny',NULL,'ollama','{}','[]',0);
CREATE TABLE IF NOT EXISTS "message" (
 "id" INTEGER,
 "chat_id" INTEGER NOT NULL,
 "author" TEXT NOT NULL,
 "text" TEXT NOT NULL,
 "images" TEXT DEFAULT "[]",
 PRIMARY KEY("id" AUTOINCREMENT),
 FOREIGN KEY("chat_id") REFERENCES "chat"("id") ON DELETE CASCADE
 );
INSERT INTO message VALUES(1,1,'user','Why is the sky blue?','[]');
INSERT INTO message VALUES(2,1,'assistant','Because air scatters blue light.','[]');
INSERT INTO message VALUES(3,1,'user','What is in this picture?','["iVBORw0KGgo="]');
INSERT INTO message VALUES(4,1,'assistant','A cloud.','[]');
COMMIT;
