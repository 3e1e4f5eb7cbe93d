"""Cost of models and of calls: parameters, operations, time, memory."""
