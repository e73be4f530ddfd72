"""Text tables of answers, one module a question, without any computation of answers."""
