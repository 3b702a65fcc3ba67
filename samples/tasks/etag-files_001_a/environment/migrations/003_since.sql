CREATE INDEX notes_since ON notes (project_id, updated_at);

CREATE INDEX members_user ON members (user_id);
