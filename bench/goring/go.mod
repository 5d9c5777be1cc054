module goring

go 1.21
