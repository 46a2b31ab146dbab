"""The loop of etude: practise, judge, learn, keep the better of two policies."""
