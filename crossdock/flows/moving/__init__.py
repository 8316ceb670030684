"""Carrying out a plan: shards mapped over a runner, one row at a time or one object over several workers."""
