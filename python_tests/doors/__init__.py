"""What users do with a network next: compile, export, trace, shard, wrap it. Each cell of models x doors is tried."""
