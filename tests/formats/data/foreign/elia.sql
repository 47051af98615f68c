PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE chat (
	id INTEGER NOT NULL, 
	model VARCHAR NOT NULL, 
	title VARCHAR, 
	started_at DATETIME DEFAULT CURRENT_TIMESTAMP, 
	archived BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO chat VALUES(1,'tiny-id','Sky','2026-11-19 14:02:00.339692',0);
INSERT INTO chat VALUES(2,'tiny-id','','2026-11-19 14:02:30.608968',1);
CREATE TABLE message (
	id INTEGER NOT NULL, 
	chat_id INTEGER, 
	role VARCHAR NOT NULL, 
	content VARCHAR NOT NULL, 
	timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, 
	meta JSON, 
	parent_id INTEGER, 
	model VARCHAR, 
	PRIMARY KEY (id), 
	FOREIGN KEY(chat_id) REFERENCES chat (id), 
	FOREIGN KEY(parent_id) REFERENCES message (id)
);
INSERT INTO message VALUES(1,1,'system','You are a helpful assistant named Elia.','2026-11-19 14:02:00.000000','{}',NULL,'tiny-id');
INSERT INTO message VALUES(2,1,'user','Why is the sky blue?','2026-11-19 14:02:01.000000','{}',NULL,'tiny-id');
INSERT INTO message VALUES(3,1,'assistant',replace('<think>Rayleigh.</think>\n\nBecause of Rayleigh scattering.','\n',char(10)),'2026-11-19 14:02:05.000000','{}',NULL,'tiny-id');
INSERT INTO message VALUES(4,1,'user','And at dusk?','2026-11-19 14:02:20.000000','{}',NULL,'tiny-id');
INSERT INTO message VALUES(5,1,'assistant','The path is longer.','2026-11-19 14:02:25.000000','{}',NULL,'tiny-id');
INSERT INTO message VALUES(6,2,'system','You are a helpful assistant named Elia.','2026-11-19 14:02:30.000000','{}',NULL,'tiny-id');
INSERT INTO message VALUES(7,2,'user','Old one','2026-11-19 14:02:31.000000','{}',NULL,'tiny-id');
COMMIT;
