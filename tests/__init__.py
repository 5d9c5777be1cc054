"""The tests. `unit` has the folders of netlog/; `support` is what several folders use."""
