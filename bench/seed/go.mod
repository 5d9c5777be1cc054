module seed

go 1.21

require tailscale.com v1.34.2

require (
	go4.org/mem v0.0.0-20210711025021-927187094b94 // indirect
	golang.org/x/crypto v0.0.0-20220427172511-eb4f295cb31f // indirect
	golang.org/x/exp v0.0.0-20220722155223-a9213eeb770e // indirect
	golang.org/x/sys v0.3.1-0.20221220025402-2204b6615fb8 // indirect
)

require goring v0.0.0

replace goring => ../goring
