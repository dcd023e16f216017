-- What became of the prompt, where it was to be enhanced.
ALTER TABLE tasks ADD COLUMN enhanced_prompt TEXT;
