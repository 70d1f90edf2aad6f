"""The contract with clients as data: transcripts, bytes and schemas that every implementation is held against."""
