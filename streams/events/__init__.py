"""What is an event?  Bytes from the CRM in, an accepted event or a rejection with its reason out; pure code."""
