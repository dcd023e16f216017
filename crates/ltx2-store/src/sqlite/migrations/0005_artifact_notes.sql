-- Difference of an output file from its request, for people.
ALTER TABLE artifacts ADD COLUMN note TEXT;
